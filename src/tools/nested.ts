import { CapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import type { JsonObject } from "../core/json.ts";
import { sha256 } from "../core/json.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { derive } from "../permissions/derive.ts";
import type { Grant } from "../permissions/grant.ts";
import type { CallRequest, Door } from "./call.ts";
import type { Outcome } from "./tool.ts";

/** The way back to the door for a running tool and for the code that it runs. */
export interface Nested extends Disposable {
  readonly call: (name: string, args: JsonObject) => Promise<Outcome>;
  /** Where untrusted parts of the nested results came from. */
  taint(): Taint;
}

/**
 * Opens the way back for one call. Its grant is derived from the caller's when it is first used, lives as long as the call may, and
 * dies with it: disposing ends every nested call, and later ones are refused.
 */
export function openNested(around: {
  readonly request: CallRequest;
  readonly timeoutMs: number;
  readonly call: Door["call"];
  readonly now: () => number;
}): Nested {
  const { caller, callId, signal: outer, log } = around.request;
  // Made by the first nested call, which most calls never make: a signal that aborts costs as much as a decision.
  let ending: AbortController | undefined;
  let signal: AbortSignal | undefined;
  let hasEnded = false;
  let taint = trusted;
  let grant: Grant | undefined;
  let calls = 0;

  return {
    taint: () => taint,
    async call(name, args) {
      if (hasEnded || outer.aborted) {
        throw new CapstanError("tool.cancelled", "The call that this one belongs to has ended.");
      }
      ending ??= new AbortController();
      signal ??= AbortSignal.any([outer, ending.signal]);
      grant ??= forExecution(caller.grant, around.now(), around.timeoutMs);
      const result = await around.call({
        caller: { ...caller, grant, taint: mergeTaint(caller.taint, taint), depth: caller.depth + 1 },
        name,
        args,
        callId: toNestedId(callId, (calls += 1)),
        parentId: callId,
        signal,
        ...(log === undefined ? {} : { log }),
      });
      taint = mergeTaint(taint, result.taint);
      const { outcome } = result;
      // What its own nested calls brought in is in it too: a tool that stores something stores all of it.
      return outcome.type === "done" && result.taint.length > 0 ? { ...outcome, taint: result.taint } : outcome;
    },
    [Symbol.dispose]() {
      hasEnded = true;
      ending?.abort();
    },
  };
}

/** The same for the same place in the same call, so that a call that is made again after a crash repeats its nested ones by their ids. */
function toNestedId(callId: string, index: number): string {
  return `call_${sha256(`${callId} ${index}`).slice(0, 32)}`;
}

function forExecution(parent: Grant, now: number, timeoutMs: number): Grant {
  const { rights, limits, delegations, run } = parent;
  if (delegations === 0) {
    throw new CapstanError(
      "permission.no_right",
      "This grant may not be handed on, so code under it can't call tools.",
    );
  }
  const expiresAt = Math.min(parent.expiresAt, now + timeoutMs);
  const request = { rights, limits, expiresAt, delegations: delegations - 1, ...(run === undefined ? {} : { run }) };
  return derive(parent, request, { id: newId("grant"), now });
}

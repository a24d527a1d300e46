import { CapstanError, toCapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import type { JsonObject } from "../core/json.ts";
import { sha256 } from "../core/json.ts";
import type { Amounts } from "../core/limits.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { derive } from "../permissions/derive.ts";
import type { Grant } from "../permissions/grant.ts";
import { maxAskedMs, openAsking } from "./asking.ts";
import type { CallRequest, Door } from "./call.ts";
import type { AroundNested, Outcome } from "./tool.ts";

/** A call that asks more often than this is asking in circles. */
const maxRounds = 8;

/** The way back to the door for a running tool and for the code that it runs. */
export interface Nested extends Disposable {
  readonly call: (name: string, args: JsonObject, around: Required<AroundNested>) => Promise<Outcome>;
  /** Where untrusted parts of the nested results came from. */
  taint(): Taint;
}

/**
 * Opens the way back for one call. Its grant is derived from the caller's when it is first used, lives as long as the call may, and
 * dies with it: disposing ends every nested call, and later ones are refused.
 */
export function openNested(around: {
  readonly request: CallRequest;
  /** What was reserved for the call. */
  readonly reserved: Amounts;
  readonly timeoutMs: number;
  /** The most calls that its grant allows; missing: as many as the caller's. */
  readonly maxCalls: number | undefined;
  readonly call: Door["call"];
  readonly now: () => number;
  readonly onFault: (fault: unknown) => void;
}): Nested {
  const { caller, callId, signal: outer, log, reservedAround = {} } = around.request;
  const reserved = (reservedAround.cpuMs ?? 0) > (around.reserved.cpuMs ?? 0) ? reservedAround : around.reserved;
  const asking = openAsking(around.request.answerer);
  const lastsMs = around.timeoutMs + (asking === undefined ? 0 : maxAskedMs);
  // Made by the first nested call, which most calls never make: a signal that aborts costs as much as a decision.
  let ending: AbortController | undefined;
  let signal: AbortSignal | undefined;
  let hasEnded = false;
  let taint = trusted;
  let grant: Grant | undefined;
  let toId: ReturnType<typeof openNestedIds> | undefined;
  let calls = 0;

  return {
    taint: () => taint,
    async call(name, args, { progress, pause, taint: brought }) {
      if (hasEnded || outer.aborted) {
        throw new CapstanError("tool.cancelled", "The call that this one belongs to has ended.");
      }
      taint = mergeTaint(taint, brought);
      ending ??= new AbortController();
      signal ??= AbortSignal.any([outer, ending.signal]);
      grant ??= forExecution(caller.grant, around.now(), lastsMs, around.maxCalls);
      toId ??= openNestedIds(callId);
      const answerer = asking?.(pause);
      const by = { ...caller, grant, depth: caller.depth + 1 };
      const nested = {
        name,
        args,
        callId: toId((calls += 1)),
        parentId: callId,
        reservedAround: reserved,
        signal,
        progress,
        ...(log === undefined ? {} : { log }),
        ...(answerer === undefined ? {} : { answerer }),
      };
      try {
        return await callUntilDone({ ...nested, caller: by }, async (request) => {
          const result = await around.call({ ...request, caller: { ...by, taint: mergeTaint(caller.taint, taint) } });
          taint = mergeTaint(taint, result.taint);
          // What its own nested calls brought in is in it too: a tool that stores something stores all of it.
          return result.taint.length > 0 ? { ...result.outcome, taint: result.taint } : result.outcome;
        });
      } catch (thrown) {
        // The door has told of its own faults: this is one of whoever was to answer.
        if (!(thrown instanceof CapstanError) && !signal.aborted) around.onFault(thrown);
        throw thrown;
      }
    },
    [Symbol.dispose]() {
      hasEnded = true;
      ending?.abort();
    },
  };
}

/** Makes a call, and goes on with it for as long as it asks and somebody answers now. */
async function callUntilDone(
  request: CallRequest & { readonly args: JsonObject },
  call: (request: CallRequest) => Promise<Outcome>,
): Promise<Outcome> {
  const { answerer, signal, caller, ...held } = request;
  let more: Pick<CallRequest, "approvalId" | "resumed"> = {};
  for (let round = 1; ; round += 1) {
    let outcome: Outcome;
    try {
      outcome = await call({ ...request, ...more });
    } catch (thrown) {
      const { code, message: why } = toCapstanError(thrown);
      const isHeld = code === "permission.approval_needed" && more.approvalId === undefined;
      const approvalId = isHeld ? await answerer?.now?.approve({ ...held, grant: caller.grant, why }, signal) : null;
      if (typeof approvalId !== "string") throw thrown;
      more = { approvalId };
      continue;
    }
    if (outcome.type === "done" || answerer?.now === undefined || round === maxRounds) return outcome;
    const { requests, state } = outcome;
    if (requests.length === 0 || !requests.every(({ type }) => answerer.can[type])) return outcome;
    more = { resumed: { responses: await answerer.now.ask(requests, signal), state } };
  }
}

/**
 * The ids of nested calls by their place: the same for the same call, so that one that is made again after a crash repeats its nested
 * ones by their ids, and in the order of an index, so that storing them changes few of its pages.
 */
function openNestedIds(callId: string): (index: number) => string {
  const start = sha256(callId).slice(0, 24);
  return (index) => `call_${start}${index.toString(16).padStart(8, "0")}`;
}

function forExecution(parent: Grant, now: number, lastsMs: number, maxCalls = Infinity): Grant {
  const { rights, limits, delegations, run } = parent;
  if (delegations === 0) {
    throw new CapstanError(
      "permission.no_right",
      "This grant may not be handed on, so code under it can't call tools.",
    );
  }
  const expiresAt = Math.min(parent.expiresAt, now + lastsMs);
  const calls = Math.min(limits.calls ?? Infinity, maxCalls);
  const narrowed = calls === Infinity ? limits : { ...limits, calls };
  const request = {
    rights,
    limits: narrowed,
    expiresAt,
    delegations: delegations - 1,
    ...(run === undefined ? {} : { run }),
  };
  return derive(parent, request, { id: newId("grant"), now });
}

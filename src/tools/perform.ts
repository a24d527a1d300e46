import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Admitted } from "./admit.ts";
import type { CallRequest } from "./call.ts";
import type { Nested } from "./nested.ts";
import { toFailure } from "./result.ts";
import type { CallContext, Outcome } from "./tool.ts";

/** How long a tool may take to clean up once it was told to stop; then it is left behind and its result dropped. */
const graceMs = 2_000;

/**
 * Runs an admitted call to its end: its value, the failure that its tool met (as an outcome), or its deadline (as an outcome). Only
 * a cancelled call throws (`tool.cancelled`). Faults that no caller may see go to `onFault`.
 */
export async function perform(parts: {
  readonly request: CallRequest;
  readonly admitted: Admitted;
  readonly nested: Nested;
  readonly onFault: (fault: unknown) => void;
}): Promise<Outcome> {
  const { request, admitted, nested } = parts;
  using deadline = openDeadline(request.signal, admitted.deadlineMs);
  const { signal } = deadline;
  try {
    const outcome = await withGrace(admitted.call.run(toContext(request, nested, signal)), signal);
    signal.throwIfAborted();
    return outcome;
  } catch (thrown) {
    if (request.signal.aborted) throw cancelled(request.name);
    if (signal.aborted) {
      return toFailure(
        new CapstanError("tool.timeout", `${request.name} did not end within ${admitted.deadlineMs} ms.`),
      );
    }
    const failure = toCapstanError(thrown);
    if (failure.code === "core.internal") parts.onFault(thrown);
    return toFailure(failure);
  }
}

/** What a cancelled call throws. */
export function cancelled(name: string): CapstanError {
  return new CapstanError("tool.cancelled", `The call of ${name.slice(0, 128)} was cancelled.`);
}

/**
 * A signal that aborts with `outer` or after `ms`, until it is disposed. `AbortSignal.timeout` and `any` do the same at several times
 * the cost, and each timeout stays in memory until its time is over.
 */
function openDeadline(outer: AbortSignal, ms: number): Disposable & { readonly signal: AbortSignal } {
  const ending = new AbortController();
  const cancel = (): void => ending.abort(outer.reason);
  const timer = setTimeout(() => ending.abort(new DOMException(`${ms} ms are over.`, "TimeoutError")), ms).unref();
  if (outer.aborted) cancel();
  else outer.addEventListener("abort", cancel, { once: true });
  return {
    signal: ending.signal,
    [Symbol.dispose]() {
      clearTimeout(timer);
      outer.removeEventListener("abort", cancel);
    },
  };
}

async function withGrace(running: Promise<Outcome>, signal: AbortSignal): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const abandoned = Promise.withResolvers<never>();
  const onAbort = (): void => {
    timer = setTimeout(() => abandoned.reject(signal.reason), graceMs);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([running, abandoned.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    clearTimeout(timer);
  }
}

function toContext(request: CallRequest, nested: Nested, signal: AbortSignal): CallContext {
  const { caller, callId, parentId, resumed, progress, log, answerer, detach } = request;
  return {
    signal,
    callId,
    ...(parentId === undefined ? {} : { parentId }),
    scope: caller.scope,
    principal: caller.principal,
    grant: caller.grant,
    taint: caller.taint,
    depth: caller.depth,
    progress: progress ?? (() => {}),
    log: log ?? (() => {}),
    ...(answerer === undefined ? {} : { answerer }),
    ...(resumed === undefined ? {} : { resumed }),
    ...(detach === undefined ? {} : { detach }),
    call: nested.call,
  };
}

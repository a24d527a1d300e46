import { type Deadline, openDeadline } from "../core/deadline.ts";
import { CapstanError, toCapstanError } from "../core/error.ts";
import { trusted } from "../core/taint.ts";
import type { Admitted } from "./admit.ts";
import type { CallRequest } from "./call.ts";
import type { Nested } from "./nested.ts";
import { toFailure } from "./result.ts";
import type { CallContext, Outcome } from "./tool.ts";

/** How long a tool may take to clean up once it was told to stop; then it is left behind and its result dropped. */
const graceMs = 2_000;

interface PerformParts {
  readonly request: CallRequest;
  readonly admitted: Admitted;
  readonly nested: Nested;
  readonly acts: Pick<CallContext, "demand" | "record">;
  readonly onFault: (fault: unknown) => void;
}

/**
 * Runs an admitted call to its end: its value, the failure that its tool met (as an outcome), or its deadline (as an outcome). Only
 * a cancelled call throws (`tool.cancelled`). Faults that no caller may see go to `onFault`.
 */
export async function perform(parts: PerformParts): Promise<Outcome> {
  const { request, admitted } = parts;
  const ending = new AbortController();
  const { signal } = ending;
  try {
    return await withDeadline((deadline) => admitted.call.run(toContext(parts, signal, deadline)), {
      ending,
      outer: request.signal,
      ms: admitted.deadlineMs,
    });
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
 * Runs until `outer` aborts or `ms` are over: then `ending` aborts, and rejects what does not end within the grace.
 * `AbortSignal.timeout` and `any` do the same at several times the cost, and each timeout stays in memory until its time is over.
 */
async function withDeadline(
  run: (deadline: Deadline) => Promise<Outcome>,
  { ending, outer, ms }: { readonly ending: AbortController; readonly outer: AbortSignal; readonly ms: number },
): Promise<Outcome> {
  outer.throwIfAborted(); // It was cancelled while it was put on record: then it does not begin.
  const abandoned = Promise.withResolvers<never>();
  let grace: NodeJS.Timeout | undefined;
  const end = (reason: unknown): void => {
    if (ending.signal.aborted) return;
    ending.abort(reason);
    grace = setTimeout(() => abandoned.reject(reason), graceMs);
  };
  const cancel = (): void => end(outer.reason);
  using deadline = openDeadline(ms, () => end(new DOMException(`${ms} ms are over.`, "TimeoutError")));
  outer.addEventListener("abort", cancel, { once: true });
  try {
    const outcome = await Promise.race([run(deadline), abandoned.promise]);
    ending.signal.throwIfAborted();
    return outcome;
  } finally {
    clearTimeout(grace);
    outer.removeEventListener("abort", cancel);
  }
}

function toContext(
  { request, admitted, nested, acts }: PerformParts,
  signal: AbortSignal,
  deadline: Deadline,
): CallContext {
  const { caller, callId, parentId, resumed, progress, log, answerer, detach } = request;
  return {
    signal,
    callId,
    ...(parentId === undefined ? {} : { parentId }),
    scope: caller.scope,
    principal: caller.principal,
    grant: caller.grant,
    reserved: admitted.amounts,
    taint: caller.taint,
    depth: caller.depth,
    progress: progress ?? (() => {}),
    log: log ?? (() => {}),
    ...(answerer === undefined ? {} : { answerer }),
    ...(resumed === undefined ? {} : { resumed }),
    ...(detach === undefined ? {} : { detach }),
    ...acts,
    call: (name, args, { progress: told = () => {}, pause, taint = trusted } = {}) =>
      nested.call(name, args, { progress: told, pause: () => pauseAll(deadline.pause, pause), taint }),
  };
}

function pauseAll(...pauses: readonly ((() => Disposable) | undefined)[]): Disposable {
  const paused = new DisposableStack();
  for (const pause of pauses) paused.use(pause?.());
  return paused;
}

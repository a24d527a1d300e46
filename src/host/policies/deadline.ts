import { CapstanError } from "../../core/error.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";

/** Acts after `ms`, unless what it returns is called before. */
export type After = (ms: number, act: () => void) => () => void;

/** On the clock of the machine. */
export const afterReally: After = (ms, act) => {
  const timer = setTimeout(act, ms);
  return () => clearTimeout(timer);
};

/**
 * Ends a call after `callMs`, whatever is inside: `provider.timeout`. Once that is over, or `signal` is aborted, nothing is waited for,
 * so a provider that does not heed its signal is left behind.
 */
export function withDeadline(inner: Provider, callMs: number, after: After): Provider {
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    signal.throwIfAborted();
    // One listener and one timer for a whole call: what Node offers for combining signals costs more than all else here.
    const ending = new AbortController();
    let giveUp: (reason: unknown) => void = () => {};
    const end = (reason: unknown): void => {
      ending.abort(reason);
      giveUp(reason);
    };
    const onAbort = (): void => end(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const cancel = after(callMs, () => end(timeOver(callMs)));
    const events = inner.stream(request, ending.signal)[Symbol.asyncIterator]();
    const next = (): Promise<IteratorResult<ModelEvent>> =>
      new Promise((resolve, reject) => {
        giveUp = reject;
        if (ending.signal.aborted) reject(ending.signal.reason);
        else events.next().then(resolve, reject);
      });
    try {
      for (let result = await next(); result.done !== true; result = await next()) yield result.value;
    } finally {
      cancel();
      signal.removeEventListener("abort", onAbort);
      // It may never come back: whoever hangs in spite of the abort is not waited for.
      events.return?.().catch(() => {});
    }
  }
  return { ...inner, stream };
}

function timeOver(callMs: number): CapstanError {
  return new CapstanError(
    "provider.timeout",
    `The model did not answer within ${callMs} ms, retries included. Try again, or raise host.retries.callMs in capstan.yaml.`,
  );
}

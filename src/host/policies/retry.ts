import { CapstanError, meaningOf, toCapstanError } from "../../core/error.ts";
import type { ErrorCode } from "../../core/error.ts";
import type { Usage } from "../../core/event.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import { usageOf } from "../receive.ts";
import type { Retries } from "./config.ts";

type Sleep = (ms: number, signal: AbortSignal) => Promise<void>;

/** Our own word that an endpoint is not to be asked now: asking again at once is what it is there to stop. */
const ownRefusals: ReadonlySet<ErrorCode> = new Set(["provider.circuit_open", "provider.busy"]);

/** How long an endpoint asks to be left alone, in ms; 0 when it says nothing. */
export function toRetryAfterMs({ details }: CapstanError): number {
  const { retryAfterMs } = details;
  return typeof retryAfterMs === "number" ? retryAfterMs : 0;
}

/** What a failed attempt used, for a notice; empty where its endpoint did not say so. */
export function toKnown(error: CapstanError): { readonly usage?: Usage } {
  const usage = usageOf(error);
  return usage === undefined ? {} : { usage };
}

/**
 * Asks again after failures that pass: those of rate limits and the others are counted by themselves, so that a call makes at most
 * 1 + `model.retries` + `rateLimited.retries` attempts. What can't succeed, or is to be waited for longer than the cap, is thrown at once.
 */
export function withRetries(
  inner: Provider,
  { model, retries, sleep }: { readonly model: string; readonly retries: Retries; readonly sleep: Sleep },
): Provider {
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const failed = { limited: 0, other: 0 };
    for (let attempt = 1; ; attempt += 1) {
      try {
        return yield* inner.stream(request, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toCapstanError(thrown);
        const { code, message } = error;
        const kind = code === "provider.rate_limited" ? "limited" : "other";
        failed[kind] += 1;
        const most = kind === "limited" ? retries.rateLimited.retries : retries.model.retries;
        const { firstMs, capMs } = retries.model;
        const askedMs = toRetryAfterMs(error);
        const passes = meaningOf(code)?.retryable === true && !ownRefusals.has(code);
        if (!passes || failed[kind] > most || askedMs > capMs) throw thrown;
        const delayMs = Math.min(capMs, Math.max(askedMs, firstMs * 2 ** (failed[kind] - 1)));
        const told = { attempt, delayMs, code, message, ...toKnown(error) };
        yield { type: "notice", notice: { type: "retry", model, ...told } };
        await sleep(delayMs, signal);
      }
    }
  }
  return { ...inner, stream };
}

/**
 * Queues a call that is refused by a rate limit for good: waits as long as is asked, at least `capMs`, and asks once more, as long as
 * all of its waiting stays within `queueMs`. `first` is asked the first time, with its retries, and `single`, without them, from then on.
 */
export function withQueue(
  first: Provider,
  single: Provider,
  { model, retries, sleep }: { readonly model: string; readonly retries: Retries; readonly sleep: Sleep },
): Provider {
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    let waitedMs = 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return yield* (attempt === 1 ? first : single).stream(request, signal);
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toCapstanError(thrown);
        const { code, message } = error;
        // Never without a pause, also where the cap is none.
        const delayMs = Math.max(1, retries.model.capMs, toRetryAfterMs(error));
        waitedMs += delayMs;
        if (code !== "provider.rate_limited" || waitedMs > retries.rateLimited.queueMs) throw thrown;
        // Of a route the last failure is the one that no notice has told of: it says whether something may have been billed.
        const { lastCode } = error.details;
        const why = { code: typeof lastCode === "string" ? lastCode : code, message, ...toKnown(error) };
        yield { type: "notice", notice: { type: "retry", model, attempt, delayMs, ...why } };
        await sleep(delayMs, signal);
      }
    }
  }
  return { ...first, stream };
}

import type { Clock } from "../../core/clock.ts";
import { CapstanError } from "../../core/error.ts";
import { estimateUsage, toAmounts } from "../price.ts";
import type { Pacing } from "./config.ts";
import type { Gate } from "./gate.ts";

const minuteMs = 60_000;

/** A token bucket that fills evenly and holds a minute's worth. What is taken beyond its level is owed, so whoever comes later waits longer. */
export interface Bucket {
  /** Takes now and answers how long to wait, in ms, before it may be used; null, and nothing taken, where that is longer than `withinMs`. */
  take(amount: number, withinMs: number): number | null;
  /** Gives back what was not used; less than nothing takes what was used beyond. */
  give(amount: number): void;
}

/**
 * Own, in place of rate-limiter-flexible: that one counts in fixed windows, reads the time itself, and its queue knows neither an abort
 * nor a deadline.
 */
export function openBucket(perMinute: number, now: Clock): Bucket {
  let level = perMinute;
  let filledAt = now();
  function fill(added: number): void {
    const at = now();
    level = Math.min(perMinute, level + ((at - filledAt) * perMinute) / minuteMs + added);
    filledAt = at;
  }
  return {
    take(amount, withinMs) {
      fill(0);
      // More than a minute's worth never fits: it begins with a full bucket and leaves it owing.
      const waitMs = Math.max(0, ((Math.min(amount, perMinute) - level) * minuteMs) / perMinute);
      if (waitMs > withinMs) return null;
      level -= amount;
      return Math.ceil(waitMs);
    },
    give: fill,
  };
}

interface PaceParts {
  readonly requests?: Bucket | undefined;
  readonly tokens?: Bucket | undefined;
  readonly queueMs: Pacing["queueMs"];
  readonly model: string;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Waits until an endpoint may be asked by both buckets. Throws `provider.busy`, at once, for a call that would wait too long. */
export function paceGate({ requests, tokens, queueMs, model, sleep }: PaceParts): Gate {
  return async (request, signal) => {
    signal.throwIfAborted();
    const estimate = toAmounts(estimateUsage(request), undefined).tokens ?? 0;
    const take = (bucket: Bucket | undefined, amount: number): number => {
      const waitMs = bucket === undefined ? 0 : bucket.take(amount, queueMs);
      if (waitMs === null) throw busy(model, queueMs);
      return waitMs;
    };
    const forRequest = take(requests, 1);
    let waitedMs: number;
    try {
      waitedMs = Math.max(forRequest, take(tokens, estimate));
    } catch (thrown) {
      requests?.give(1);
      throw thrown;
    }
    try {
      if (waitedMs > 0) await sleep(waitedMs, signal);
    } catch (thrown) {
      requests?.give(1);
      tokens?.give(estimate);
      throw thrown;
    }
    return {
      notice: { type: "rate_limit_acquired", model, waitedMs },
      // What a call without an answer used nobody knows: it stays taken.
      leave(end) {
        if (end.type === "answered") tokens?.give(estimate - (toAmounts(end.usage, undefined).tokens ?? 0));
        return undefined;
      },
    };
  };
}

function busy(model: string, queueMs: number): CapstanError {
  return new CapstanError(
    "provider.busy",
    `A call of ${model} would wait longer than ${queueMs} ms for its rate limit. Try again later, or raise host.pacing in capstan.yaml.`,
  );
}

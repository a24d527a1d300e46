import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Scope } from "../core/scope.ts";
import type { Store } from "../store/store.ts";

const kind = "permission-state";
const key = "time";
const persistEveryMs = 1000;

/** The time of a home: it never runs backwards, in this process, after a restart, or beside another process. */
export interface HighWater extends AsyncDisposable {
  /** ms since the epoch. */
  readonly now: () => number;
  /** Takes over the mark of other processes and persists its own, at most each second. Throws `store.*`. */
  sync(): Promise<void>;
}

/**
 * Opens the high-water mark of time. Where the clock is set back, time goes on from the mark at the clock's pace: what has expired
 * stays expired, and what is made meanwhile still ends. Closing persists the mark.
 */
export async function openHighWater(parts: { store: Store; scope: Scope; clock: Clock }): Promise<HighWater> {
  const { store, scope, clock } = parts;
  let lastReading = clock();
  let mark = lastReading;

  function now(): number {
    const reading = clock();
    mark = Math.max(reading, mark + Math.max(0, reading - lastReading));
    lastReading = reading;
    return mark;
  }

  async function merge(persistAfterMs: number): Promise<void> {
    const record = await store.record(scope, kind, key);
    const known = record === null ? 0 : parseTime(record.value);
    mark = Math.max(now(), known);
    if (mark - known < persistAfterMs) return;
    try {
      await store.commit({ scope, records: [{ kind, key, value: mark, ifVersion: record?.version ?? 0 }] });
    } catch (thrown) {
      // Another process has just written its mark; the next time takes it over.
      if (!(thrown instanceof CapstanError && thrown.code === "store.conflict")) throw thrown;
    }
  }

  await merge(persistEveryMs);
  return { now, sync: () => merge(persistEveryMs), [Symbol.asyncDispose]: () => merge(1) };
}

function parseTime(value: unknown): number {
  const parsed = z.int().min(0).safeParse(value);
  if (parsed.success) return parsed.data;
  throw new CapstanError(
    "store.corrupt",
    "The stored time of this home can't be read. Restore the store from a backup.",
  );
}

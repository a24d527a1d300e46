import { availableParallelism } from "node:os";
import { CapstanError } from "../../core/error.ts";
import { openSlots } from "../../core/slots.ts";
import type { Guest } from "./guest.ts";

/** A run of the usual length is over by then, and the boot that follows it takes none of its time. */
const defaultRefillDelayMs = 100;
/** Nobody wanted a guest for so long: those in waiting give their memory back, and the next `take` starts anew. */
const defaultIdleMs = 300_000;

/** A guest that is one's own until `end`. */
export interface Lease<T extends Guest> {
  readonly guest: T;
  /** Kills it, and frees its place when nothing is left of it; a `pristine` one, which ran nothing, goes on waiting where there is room. */
  readonly end: (pristine: boolean) => void;
}

/** Guests in waiting. */
export interface Pool<T extends Guest> extends AsyncDisposable {
  /** The one that waits longest, or a new one. Rejects with the signal's reason, or `sandbox.unavailable`. */
  take(signal: AbortSignal): Promise<Lease<T>>;
}

/**
 * Keeps `warm` guests booted from the first `take` on; of those taken, `maxTaken` at a time, and who wants one more waits. `boot` must give
 * up when its signal aborts, which disposing does; disposing then waits until nothing is left of any guest, taken ones too. As many boot at a
 * time as there are processors: more would only all be ready later. When nobody takes one for `idleMs` (default: five minutes), none waits.
 * The place of one that was taken is filled after `refillDelayMs` (default: 100).
 */
export function openPool<T extends Guest>(
  {
    warm,
    maxTaken,
    idleMs = defaultIdleMs,
    refillDelayMs = defaultRefillDelayMs,
  }: { readonly warm: number; readonly maxTaken: number; readonly idleMs?: number; readonly refillDelayMs?: number },
  boot: (signal: AbortSignal) => Promise<T>,
): Pool<T> {
  const closing = new AbortController();
  const slots = openSlots(maxTaken);
  const booting = openSlots(availableParallelism());
  const living = new Set<T>();
  const boots = new Set<Promise<T>>();
  const waiting = new Set<Promise<T>>();

  const bootInTurn = async (): Promise<T> => {
    const release = await booting.take(closing.signal);
    const guest = await boot(closing.signal).finally(release);
    living.add(guest);
    void guest.gone.then(() => living.delete(guest));
    return guest;
  };
  const start = (): Promise<T> => {
    const started = bootInTurn();
    boots.add(started);
    const settle = () => boots.delete(started);
    started.then(settle, settle);
    return started;
  };
  const giveUp = () => {
    for (const started of waiting) started.then(kill, () => undefined);
    waiting.clear();
  };
  let idle: NodeJS.Timeout | undefined;
  /** Whether it is one of those in waiting now. */
  const keep = (started: Promise<T>): boolean => {
    if (waiting.size >= warm || closing.signal.aborted) return false;
    waiting.add(started);
    clearTimeout(idle);
    idle = setTimeout(giveUp, idleMs).unref();
    const leave = () => waiting.delete(started);
    started.then(({ gone }) => gone.then(leave), leave);
    return true;
  };
  const refill = () => {
    while (waiting.size < warm && !closing.signal.aborted) keep(start());
  };
  const next = async (signal: AbortSignal): Promise<T> => {
    for (;;) {
      const [started = start()] = waiting;
      waiting.delete(started);
      try {
        const guest = await unlessAborted(started, signal);
        if (living.has(guest)) return guest;
      } catch (thrown) {
        if (signal.aborted && !keep(started)) started.then(kill, () => undefined);
        throw thrown;
      }
    }
  };

  return {
    async take(signal) {
      const either = AbortSignal.any([signal, closing.signal]);
      let release: () => void = () => undefined;
      try {
        release = await slots.take(either);
        const guest = await next(either);
        setTimeout(refill, refillDelayMs).unref();
        const end = (pristine: boolean) => {
          const kept = pristine && living.has(guest) && keep(Promise.resolve(guest));
          if (!kept) guest.kill();
          void (kept ? Promise.resolve() : guest.gone).then(release);
        };
        return { guest, end };
      } catch (thrown) {
        release();
        if (closing.signal.aborted) throw new CapstanError("sandbox.unavailable", "The engine is closed.");
        throw thrown;
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      clearTimeout(idle);
      await Promise.allSettled(boots);
      for (const guest of living) guest.kill();
      await Promise.all([...living].map(({ gone }) => gone));
    },
  };
}

const kill = (guest: Guest): void => guest.kill();

/** The promise, or the signal's reason, whichever comes first. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

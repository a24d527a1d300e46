import { CapstanError } from "../../core/error.ts";
import type { Interpreter } from "./interpreter.ts";
import { openSlots } from "./slots.ts";

/** Interpreters that may be taken at a time, each of some 170 MB. Who wants one more waits. */
const maxTaken = 16;

/** A run of the usual length is over by then, and the boot that follows it takes none of its time. */
const refillDelayMs = 100;

/** An interpreter that is one's own until `end`. */
export interface Lease {
  readonly interpreter: Interpreter;
  /** Kills it, and frees its place when nothing is left of it; a `pristine` one, which ran nothing, goes on waiting where there is room. */
  readonly end: (pristine: boolean) => void;
}

/** Interpreters in waiting. */
export interface Pool extends AsyncDisposable {
  /** The one that waits longest, or a new one. Rejects with the signal's reason, or `sandbox.unavailable`. */
  take(signal: AbortSignal): Promise<Lease>;
}

/**
 * Keeps `warm` interpreters booted from the first `take` on. `boot` must give up when its signal aborts, which disposing does; disposing
 * then waits until nothing is left of any interpreter, taken ones too.
 */
export function openPool(warm: number, boot: (signal: AbortSignal) => Promise<Interpreter>): Pool {
  const closing = new AbortController();
  const slots = openSlots(maxTaken);
  const living = new Set<Interpreter>();
  const boots = new Set<Promise<Interpreter>>();
  const waiting = new Set<Promise<Interpreter>>();

  const start = (): Promise<Interpreter> => {
    const started = boot(closing.signal).then((interpreter) => {
      living.add(interpreter);
      void interpreter.gone.then(() => living.delete(interpreter));
      return interpreter;
    });
    boots.add(started);
    const settle = () => boots.delete(started);
    started.then(settle, settle);
    return started;
  };
  /** Whether it is one of those in waiting now. */
  const keep = (started: Promise<Interpreter>): boolean => {
    if (waiting.size >= warm || closing.signal.aborted) return false;
    waiting.add(started);
    const leave = () => waiting.delete(started);
    started.then(({ gone }) => gone.then(leave), leave);
    return true;
  };
  const refill = () => {
    while (waiting.size < warm && !closing.signal.aborted) keep(start());
  };

  const next = async (signal: AbortSignal): Promise<Interpreter> => {
    for (;;) {
      const [started = start()] = waiting;
      waiting.delete(started);
      try {
        const interpreter = await unlessAborted(started, signal);
        if (living.has(interpreter)) return interpreter;
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
        const interpreter = await next(either);
        setTimeout(refill, refillDelayMs).unref();
        const end = (pristine: boolean) => {
          const kept = pristine && living.has(interpreter) && keep(Promise.resolve(interpreter));
          if (!kept) interpreter.kill();
          void (kept ? Promise.resolve() : interpreter.gone).then(release);
        };
        return { interpreter, end };
      } catch (thrown) {
        release();
        if (closing.signal.aborted) throw new CapstanError("sandbox.unavailable", "The Python engine is closed.");
        throw thrown;
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.allSettled(boots);
      for (const interpreter of living) interpreter.kill();
      await Promise.all([...living].map(({ gone }) => gone));
    },
  };
}

const kill = (interpreter: Interpreter): void => interpreter.kill();

/** The promise, or the signal's reason, whichever comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
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

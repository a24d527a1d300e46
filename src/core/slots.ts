/** Lets so many hold a slot at a time; the others wait in the order in which they came. */
export interface Slots {
  /** Waits for a slot and answers how to give it back. Rejects with the signal's reason when that aborts first. */
  take(signal: AbortSignal): Promise<() => void>;
  /** The same without waiting: undefined where none is free. */
  tryTake(): (() => void) | undefined;
}

export function openSlots(count: number): Slots {
  const waiting = new Set<() => void>();
  let free = count;

  function tryTake(): (() => void) | undefined {
    if (free === 0) return undefined;
    free -= 1;
    return toRelease();
  }

  function toRelease(): () => void {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const [next] = waiting;
      if (next === undefined) free += 1;
      else next();
    };
  }

  return {
    tryTake,
    async take(signal) {
      signal.throwIfAborted();
      const taken = tryTake();
      if (taken !== undefined) return taken;
      await turn(waiting, signal);
      return toRelease();
    },
  };
}

/** Resolves when the function that it puts into `waiting` is called. */
function turn(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const leave = () => {
    waiting.delete(come);
    reject(signal.reason);
  };
  const come = () => {
    waiting.delete(come);
    signal.removeEventListener("abort", leave);
    resolve();
  };
  waiting.add(come);
  signal.addEventListener("abort", leave, { once: true });
  return promise;
}

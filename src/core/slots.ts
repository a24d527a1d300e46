/** Lets so many hold a slot at a time; the others wait in the order in which they came. */
export interface Slots {
  /** Waits for a slot and answers how to give it back. Rejects with the signal's reason when that aborts first. */
  take(signal: AbortSignal): Promise<() => void>;
}

export function openSlots(count: number): Slots {
  const waiting = new Set<() => void>();
  let free = count;
  return {
    async take(signal) {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else await turn(waiting, signal);
      let held = true;
      return () => {
        if (!held) return;
        held = false;
        const [next] = waiting;
        if (next === undefined) free += 1;
        else next();
      };
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

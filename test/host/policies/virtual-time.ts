interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

/** A time that stands still while anything is being done, and moves to the end of the next sleep when all there is waits. */
export function virtualTime() {
  const timers = new Set<Timer>();
  let time = 0;

  function after(ms: number, act: () => void): () => void {
    const timer: Timer = { at: time + ms, fire: () => void (timers.delete(timer) && act()) };
    timers.add(timer);
    return () => void timers.delete(timer);
  }

  function sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const cancel = after(ms, () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      });
      const onAbort = (): void => {
        cancel();
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Lets work go on to its end. */
  async function until<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const end = (): void => void (isOver = true);
    work.then(end, end);
    for (;;) {
      await new Promise(setImmediate);
      if (isOver) return await work;
      const next = [...timers].reduce<Timer | null>((a, b) => (a === null || b.at < a.at ? b : a), null);
      if (next === null) throw new Error("The work waits for something else than time.");
      time = next.at;
      next.fire();
    }
  }

  return { now: () => time, after, sleep, until };
}

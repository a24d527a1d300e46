/** A time after which something ends, and which can stand still. Disposing stops it for good. */
export interface Deadline extends Disposable {
  /** Stands still until the pause is disposed of; several at a time are one. */
  readonly pause: () => Disposable;
  /** For how long it has run, in ms, without pauses. */
  readonly elapsedMs: () => number;
}

/** Calls `onOver` once the deadline has run for `ms`. It does not keep the process alive. */
export function openDeadline(ms: number, onOver: () => void): Deadline {
  let runningSince = performance.now();
  let ranMs = 0;
  let pauses = 0;
  let isEnded = false;
  let timer = setTimeout(onOver, ms).unref();
  const elapsedMs = (): number => (pauses > 0 ? ranMs : ranMs + performance.now() - runningSince);
  const resume = (): void => {
    pauses -= 1;
    if (pauses > 0) return;
    runningSince = performance.now();
    if (!isEnded) timer = setTimeout(onOver, Math.max(0, ms - ranMs)).unref();
  };
  return {
    elapsedMs,
    pause() {
      clearTimeout(timer);
      ranMs = elapsedMs();
      pauses += 1;
      let isHeld = true;
      return {
        [Symbol.dispose]() {
          if (isHeld) resume();
          isHeld = false;
        },
      };
    },
    [Symbol.dispose]() {
      isEnded = true;
      clearTimeout(timer);
    },
  };
}

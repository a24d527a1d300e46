/** How often an inbox is read that another process may have written to, in ms. */
const everyMs = 500;

/** Tells the driver of a run when to read its inbox: at once for an input of this process, and from time to time for others'. */
export interface Bell {
  ring(): void;
  /** Whether the inbox is due, which it then is no longer. */
  isDue(): boolean;
  /** Called with each ring. */
  onRing: () => void;
}

export function openBell(): Bell {
  let readAt = -Infinity;
  return {
    ring() {
      readAt = -Infinity;
      this.onRing();
    },
    isDue() {
      const now = performance.now();
      if (now - readAt < everyMs) return false;
      readAt = now;
      return true;
    },
    onRing() {},
  };
}

import type { Progress } from "../../tools/tool.ts";

/** No more than ten notifications a second for one call: a client may redraw at each. */
const minIntervalMs = 100;

/** What a call reports its progress to; `end` closes it for good. */
export interface ProgressReport {
  report(progress: Progress): void;
  end(): void;
}

/**
 * Passes progress on to a client: only what moves forward (the protocol asks for that), not too often, and nothing once the call has
 * ended. What comes too soon is dropped, not kept: the next one says more.
 */
export function openProgress(send: (progress: Progress) => void): ProgressReport {
  let highest = -Infinity;
  let nextAt = -Infinity;
  return {
    report(progress) {
      const now = performance.now();
      if (!(progress.done > highest) || now < nextAt) return;
      highest = progress.done;
      nextAt = now + minIntervalMs;
      send(progress);
    },
    end() {
      highest = Infinity;
    },
  };
}

import type { Clock } from "../../src/core/clock.ts";

/** A clock that stands still until it is told to move. */
export function handClock(start = Date.UTC(2026, 0, 1)): Clock & { advance(ms: number): void } {
  let now = start;
  return Object.assign(() => now, {
    advance(ms: number) {
      now += ms;
    },
  });
}

/** Milliseconds since the epoch. Every room takes the time from here; only tests replace it. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

/** The longest time that may be waited for: Node's timers count to 2^31 ms, 24 days, and what is longer is over at once. */
export const longestMs = 2_000_000_000;

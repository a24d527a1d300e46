/** Milliseconds since the epoch. Every room takes the time from here; only tests replace it. */
export type Clock = () => number;

export const systemClock: Clock = () => Date.now();

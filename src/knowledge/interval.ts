/** A time from inclusive to exclusive, in ms; null is unknown or open on that side. */
export interface Interval {
  readonly from: number | null;
  readonly to: number | null;
}

const start = ({ from }: Interval): number => from ?? Number.NEGATIVE_INFINITY;
const end = ({ to }: Interval): number => to ?? Number.POSITIVE_INFINITY;

export const overlap = (a: Interval, b: Interval): boolean => start(a) < end(b) && start(b) < end(a);

export const contains = (interval: Interval, at: number): boolean => start(interval) <= at && at < end(interval);

export const isSame = (a: Interval, b: Interval): boolean => a.from === b.from && a.to === b.to;

/** What is left of `a` without `b`: nothing, a part before it, a part after it, or both. */
export function without(a: Interval, b: Interval): readonly Interval[] {
  if (!overlap(a, b)) return [a];
  return [
    ...(b.from !== null && start(a) < b.from ? [{ from: a.from, to: b.from }] : []),
    ...(b.to !== null && b.to < end(a) ? [{ from: b.to, to: a.to }] : []),
  ];
}

/** `told`, with what it leaves open taken from the outer ends of `known`. */
export function complete(told: Interval, known: readonly Interval[]): Interval {
  const from = Math.min(...known.map(start));
  const to = Math.max(...known.map(end));
  return {
    from: told.from ?? (Number.isFinite(from) ? from : null),
    to: told.to ?? (Number.isFinite(to) ? to : null),
  };
}

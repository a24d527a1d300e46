/**
 * A list that only grows, whose older versions stay what they were: `append` is O(1) and gives a new version over the same backing
 * array. Each version knows how much of the array is its own, so what a newer one has pushed behind that is never seen; appending to
 * an older version copies its part first. Never touch `backing` outside this file.
 */
export interface Sequence<T> {
  readonly length: number;
  readonly backing: T[];
}

export function emptySequence<T>(): Sequence<T> {
  return { length: 0, backing: [] };
}

export function append<T>({ length, backing }: Sequence<T>, item: T): Sequence<T> {
  const own = backing.length === length ? backing : backing.slice(0, length);
  own.push(item);
  return { length: length + 1, backing: own };
}

export function toArray<T>({ length, backing }: Sequence<T>): readonly T[] {
  return backing.slice(0, length);
}

export function toSequence<T>(items: readonly T[]): Sequence<T> {
  return { length: items.length, backing: [...items] };
}

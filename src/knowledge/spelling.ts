import { toTrigrams } from "./names.ts";

/** Less alike by edits than this is chance: any two names share some letters in some order. */
const leastEdits = 0.5;

/** Names that are not the same can have the same trigrams: "aaaa" and "aaaaa". */
const mostUnequal = 0.99;

/**
 * How alike a normal form is to others, from 0 to 1: by the trigrams that both share, where words may stand in another order, or by
 * the letters that must be changed, where a slip in a short name leaves hardly a trigram whole. The better of both counts.
 */
export function toSpelling(norm: string): (other: string) => number {
  const characters = Array.from(norm);
  const trigrams = padded(norm);
  return (other) => {
    if (other === norm) return 1;
    const others = Array.from(other);
    const longer = Math.max(characters.length, others.length);
    const shorter = Math.min(characters.length, others.length);
    const worth = shorter / longer >= leastEdits;
    const edits = worth ? 1 - editsBetween(characters, others) / longer : 0;
    return Math.min(mostUnequal, Math.max(shared(trigrams, padded(other)), edits >= leastEdits ? edits : 0));
  };
}

/** The ends count as spaces, so that first letters weigh more. */
const padded = (norm: string): ReadonlySet<string> => toTrigrams(`  ${norm} `);

function shared(left: ReadonlySet<string>, right: ReadonlySet<string>): number {
  let both = 0;
  for (const trigram of left) if (right.has(trigram)) both += 1;
  return both / (left.size + right.size - both);
}

/** Letters to insert, drop, replace or swap with the next one (optimal string alignment). */
function editsBetween(a: readonly string[], b: readonly string[]): number {
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of a.entries()) {
    const next = [i + 1];
    for (const [j, other] of b.entries()) {
      const kept = (last[j] ?? 0) + (letter === other ? 0 : 1);
      const dropped = (last[j + 1] ?? 0) + 1;
      const inserted = (next[j] ?? 0) + 1;
      const isSwap = i > 0 && j > 0 && letter === b[j - 1] && a[i - 1] === other;
      const swapped = isSwap ? (beforeLast[j - 1] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(kept, dropped, inserted, swapped));
    }
    beforeLast = last;
    last = next;
  }
  return last.at(-1) ?? 0;
}

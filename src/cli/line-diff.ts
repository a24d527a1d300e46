/** A line of a difference: as it was, as it is now, or the same. */
interface Line {
  readonly mark: "- " | "+ " | "  ";
  readonly text: string;
}

const contextLines = 3;
/** Beyond so many pairs of lines, the shortest difference is not worth its time: all old lines go before all new ones. */
const maxPairs = 4_000_000;

/**
 * What differs between two texts, line by line, each behind its mark, with three lines around; `...` alone stands for lines that are
 * the same in both. No text can forge a mark, since each of its lines has one.
 */
export function toLineDiff(before: readonly string[], after: readonly string[]): readonly string[] {
  const lines = compare(before, after);
  const near = new Set<number>();
  lines.forEach(({ mark }, index) => {
    if (mark === "  ") return;
    for (let at = index - contextLines; at <= index + contextLines; at++) near.add(at);
  });
  return lines.flatMap(({ mark, text }, index) => {
    if (near.has(index)) return [`${mark}${text}`];
    return index === 0 || near.has(index - 1) ? ["..."] : [];
  });
}

function compare(before: readonly string[], after: readonly string[]): readonly Line[] {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let end = 0;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  const mark = (of: Line["mark"], texts: readonly string[]): readonly Line[] =>
    texts.map((text) => ({ mark: of, text }));
  return [
    ...mark("  ", before.slice(0, start)),
    ...compareMiddle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...mark("  ", before.slice(before.length - end)),
  ];
}

/** By the longest common subsequence. */
function compareMiddle(before: readonly string[], after: readonly string[]): readonly Line[] {
  const width = after.length + 1;
  const isTooMuch = before.length * after.length > maxPairs;
  /** At [row, column]: how many lines the rests of both from there have in common. */
  const common = new Uint32Array(isTooMuch ? 0 : (before.length + 1) * width);
  if (!isTooMuch) {
    for (let row = before.length - 1; row >= 0; row--) {
      for (let column = after.length - 1; column >= 0; column--) {
        const at = row * width + column;
        const without = Math.max(common[at + 1] ?? 0, common[at + width] ?? 0);
        common[at] = before[row] === after[column] ? (common[at + width + 1] ?? 0) + 1 : without;
      }
    }
  }
  const lines: Line[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    const [old, now] = [before[row], after[column]];
    const at = row * width + column;
    if (old !== undefined && old === now && !isTooMuch) {
      lines.push({ mark: "  ", text: old });
      row++;
      column++;
    } else if (old !== undefined && (now === undefined || (common[at + width] ?? 0) >= (common[at + 1] ?? 0))) {
      lines.push({ mark: "- ", text: old });
      row++;
    } else {
      lines.push({ mark: "+ ", text: now ?? "" });
      column++;
    }
  }
  return lines;
}

/** A part of a text, in UTF-16 units. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Finds all that any match covers, in order and apart from each other; null: it would have taken too many steps. */
export type Finder = (text: string) => readonly Span[] | null;

/** What stands where a rule took something out. */
const mark = "[redacted]";

/** Adds a span to those before it, none of which ends later, and keeps them apart from each other. */
export function addSpan(spans: Span[], { start: from, end }: Span): void {
  let start = from;
  for (let last = spans.at(-1); last !== undefined && last.end >= start; last = spans.at(-1)) {
    start = Math.min(start, last.start);
    spans.pop();
  }
  spans.push({ start, end });
}

/** The spans of several searches as those of one. */
export function mergeSpans(found: readonly Span[]): readonly Span[] {
  const merged: Span[] = [];
  for (const span of found.toSorted((a, b) => a.end - b.end)) addSpan(merged, span);
  return merged;
}

/** The texts, whose spans are those of all of them together, with a mark for each span: a span may begin in one and end in another. */
export function takeOut(texts: readonly string[], spans: readonly Span[]): readonly string[] {
  let offset = 0;
  let first = 0;
  return texts.map((text) => {
    const end = offset + text.length;
    let kept = "";
    let from = offset;
    for (; first < spans.length; first += 1) {
      const span = spans[first];
      if (span === undefined || span.start >= end) break;
      if (span.start >= offset) kept += text.slice(from - offset, span.start - offset) + mark;
      from = Math.min(span.end, end);
      if (span.end > end) break;
    }
    kept += text.slice(from - offset);
    offset = end;
    return kept;
  });
}

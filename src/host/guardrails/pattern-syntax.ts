import { CapstanError } from "../../core/error.ts";

/** A regular expression as a tree. */
export type PatternNode =
  | { readonly type: "char"; readonly test: (codePoint: number) => boolean }
  | { readonly type: "assert"; readonly test: (text: string, place: number) => boolean }
  | { readonly type: "sequence"; readonly items: readonly PatternNode[] }
  | { readonly type: "choice"; readonly options: readonly PatternNode[] }
  | { readonly type: "repeat"; readonly item: PatternNode; readonly min: number; readonly max: number };

/** How many characters beyond ASCII one class remembers; the rest it looks up each time. */
const maxRemembered = 1_000;

/**
 * Reads a regular expression as JavaScript writes it with the flags `u` and `m`, and with `i` where it begins with `(?i)`: characters,
 * classes, groups, `|`, `*`, `+`, `?`, `{m,n}`, `^`, `$`, `\b` and `\B`. Lookaround, references to groups and other flags are refused, as they
 * can't be searched for without backtracking. What is left is asked for only whether it is there, so lazy is the same as greedy. Throws
 * `usage.bad_option`.
 */
export function parsePattern(pattern: string): PatternNode {
  const flags = pattern.startsWith("(?i)") ? "iu" : "u";
  const source = flags === "u" ? pattern : pattern.slice(4);
  try {
    RegExp(source, flags);
  } catch (cause) {
    throw refused(pattern, "it is no regular expression of JavaScript with the flag u", cause);
  }
  // From here on the syntax is known to be right, so what is read is only told apart.
  let place = 0;
  const peek = (text: string): boolean => source.startsWith(text, place);
  const take = (form: RegExp): RegExpExecArray | null => {
    form.lastIndex = place;
    const found = form.exec(source);
    place += found?.[0].length ?? 0;
    return found;
  };

  const readChoice = (): PatternNode => {
    const options = [readSequence()];
    while (peek("|")) {
      place += 1;
      options.push(readSequence());
    }
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { type: "choice", options };
  };

  const readSequence = (): PatternNode => {
    const items: PatternNode[] = [];
    while (place < source.length && !peek("|") && !peek(")")) items.push(readRepeat());
    return { type: "sequence", items };
  };

  const readRepeat = (): PatternNode => {
    const item = readItem();
    const found = take(/(?:\*|\+|\?|\{(\d+)(,?)(\d*)\})\??/uy);
    if (found === null) return item;
    const [text, from = "0", comma = "", to = ""] = found;
    if (text.startsWith("*")) return { type: "repeat", item, min: 0, max: Infinity };
    if (text.startsWith("+")) return { type: "repeat", item, min: 1, max: Infinity };
    if (text.startsWith("?")) return { type: "repeat", item, min: 0, max: 1 };
    const min = Number(from);
    return { type: "repeat", item, min, max: comma === "" ? min : to === "" ? Infinity : Number(to) };
  };

  const readItem = (): PatternNode => {
    if (peek("(")) {
      if (take(/\((?:\?:|\?<[^=!>]+>)?(?!\?)/uy) === null) {
        throw refused(pattern, "it looks ahead or behind, or sets flags inside itself, which this search can't do");
      }
      const group = readChoice();
      place += 1;
      return group;
    }
    const assertion = take(/[\^$]|\\[bB]/uy);
    if (assertion !== null) return { type: "assert", test: toAssertion(assertion[0]) };
    if (take(/\\(?:[1-9]|k<)/uy) !== null) {
      throw refused(pattern, "it refers back to a group, which this search can't do");
    }
    const char = take(
      /\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\x..|\\c.|\\.|\[(?:\\.|[^\]\\])*\]|[^]/uy,
    );
    return { type: "char", test: toTest(char?.[0] ?? "", flags) };
  };

  return readChoice();
}

/** A single character is matched by `RegExp` itself, which knows classes, properties and cases; there is nothing to go back over. */
function toTest(source: string, flags: string): (codePoint: number) => boolean {
  const form = new RegExp(`^${source}$`, flags);
  const look = (codePoint: number): boolean => form.test(String.fromCodePoint(codePoint));
  const ascii = Array.from({ length: 128 }, (_, codePoint) => look(codePoint));
  const others = new Map<number, boolean>();
  return (codePoint) => {
    const known = ascii[codePoint] ?? others.get(codePoint);
    if (known !== undefined) return known;
    const found = look(codePoint);
    if (others.size < maxRemembered) others.set(codePoint, found);
    return found;
  };
}

function toAssertion(source: string): (text: string, place: number) => boolean {
  const isWord = (text: string, place: number): boolean => /\w/.test(text.charAt(place));
  const isBreak = (text: string, place: number): boolean => /^[\n\r\u2028\u2029]?$/.test(text.charAt(place));
  switch (source) {
    case "^":
      return (text, place) => place === 0 || isBreak(text, place - 1);
    case "$":
      return isBreak;
    case "\\b":
      return (text, place) => isWord(text, place - 1) !== isWord(text, place);
    default:
      return (text, place) => isWord(text, place - 1) === isWord(text, place);
  }
}

function refused(pattern: string, why: string, cause?: unknown): CapstanError {
  return new CapstanError("usage.bad_option", `The pattern ${JSON.stringify(pattern)} can't be used: ${why}.`, {
    cause,
  });
}

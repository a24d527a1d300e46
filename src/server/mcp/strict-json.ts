import { CapstanError } from "../../core/error.ts";

/** Deeper data than this is refused: whoever walks it recursively must not run out of stack. */
const maxDepth = 64;

/**
 * Parses one JSON text that has one reading only. Throws `SyntaxError` where it is no JSON, and `core.bad_json` where another parser
 * could read something else out of it than we did: a key that stands twice in an object, keys of a message or of its params that
 * differ by case alone, and `__proto__`. Deeper than 64 levels is refused too.
 */
export function parseStrictJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  // JSON.parse keeps the last of equal keys without a word: fewer keys than the text has written means that one stood twice.
  if (countKeys(value) !== countWrittenKeys(text)) throw refused("a key stands twice in one object");
  return value;
}

function countKeys(value: unknown): number {
  let count = 0;
  let level: unknown[] = [value];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > maxDepth) throw refused(`it is nested deeper than ${maxDepth} levels`);
    const next: unknown[] = [];
    for (const item of level) {
      if (Array.isArray(item)) {
        for (const inner of item) if (typeof inner === "object") next.push(inner);
      } else if (typeof item === "object" && item !== null) {
        const keys = Object.keys(item);
        count += keys.length;
        demandPlainKeys(keys, depth);
        for (const inner of Object.values(item)) if (typeof inner === "object") next.push(inner);
      }
    }
    level = next;
  }
  return count;
}

function demandPlainKeys(keys: readonly string[], depth: number): void {
  if (keys.includes("__proto__")) throw refused('"__proto__" is no key for data');
  // Below the params, keys are the tools' own: their schemas know each by its exact name.
  if (depth <= 2 && new Set(keys.map((key) => key.toLowerCase())).size < keys.length) {
    throw refused("two of its keys differ by case alone");
  }
}

/** How many `"key":` the text of a valid JSON value holds. */
function countWrittenKeys(text: string): number {
  let count = 0;
  for (let start = text.indexOf('"'); start !== -1;) {
    let end = text.indexOf('"', start + 1);
    while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
    let after = end + 1;
    while (isSpace(text.charCodeAt(after))) after += 1;
    if (text[after] === ":") count += 1;
    start = text.indexOf('"', after);
  }
  return count;
}

/** Whether the quote is part of its string: an odd number of backslashes stands before it. */
function isEscaped(text: string, quote: number): boolean {
  let before = quote - 1;
  while (text[before] === "\\") before -= 1;
  return (quote - before) % 2 === 0;
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

function refused(reason: string): CapstanError {
  return new CapstanError("core.bad_json", `The message has no single meaning: ${reason}. Send it without that.`);
}

const maxShown = 80;

/** Controls, bidirectional marks, line separators and the like. */
export const invisible = /[\p{C}\p{Zl}\p{Zp}]/u;

/** A value that came, for a sentence: cut to 80 characters. */
export function valueInWords(value: unknown): string {
  if (typeof value === "string") return quote(value.length > maxShown ? `${value.slice(0, maxShown)}…` : value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  if (typeof value === "object") return "an object";
  return value === undefined ? "missing" : `a value of type ${typeof value}`;
}

/** As a JSON string with everything invisible escaped, so that no text forges another. */
export function quote(text: string): string {
  return JSON.stringify(text).replace(
    new RegExp(invisible, "gu"),
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

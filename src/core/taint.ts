/**
 * Where untrusted content in a context came from, as sorted unique labels such as `files`, `knowledge`, `mcp:github`.
 * Empty means trusted: the user's own words and built-in computation on them. Labels persist through everything stored.
 */
export type Taint = readonly string[];

export const trusted: Taint = [];

/** The union of labels, sorted, so that equal sets are equal values. */
export function mergeTaint(...parts: readonly Taint[]): Taint {
  const [first, ...rest] = parts.filter((part) => part.length > 0);
  if (first === undefined) return trusted;
  return rest.length === 0 ? first : [...new Set([first, ...rest].flat())].sort();
}

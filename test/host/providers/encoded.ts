/** The base64 of a `data:` URL of a PNG; throws for any other. */
export function toImage(url: string): string {
  const [, data] = /^data:image\/png;base64,([\w+/=]+)$/.exec(url) ?? [];
  if (data === undefined) throw new Error(`no image: ${url.slice(0, 80)}`);
  return data;
}

/** What is encoded with something in it that is nested deeper than any stack is, and that `JSON.stringify` could not write. */
export function withDepth(encode: (deep: string) => string): string {
  const levels = 100_000;
  return encode("deep").replace('"deep":"deep"', `"deep":${"[".repeat(levels)}${"]".repeat(levels)}`);
}

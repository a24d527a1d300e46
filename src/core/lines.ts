/** A line without its end, or `too_long`: what was longer is dropped as it arrives, never kept. */
export type Line = Buffer | "too_long";

/** Cuts a stream of bytes into lines of at most `maxBytes`. Each call returns the lines that end in its chunk; holds one line at most. */
export function openLineCutter(maxBytes: number): (chunk: Buffer) => readonly Line[] {
  let parts: Buffer[] = [];
  let length = 0;

  const keep = (part: Buffer): void => {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    else parts = [];
  };
  const end = (): Line => {
    const line = length > maxBytes ? "too_long" : Buffer.concat(parts);
    parts = [];
    length = 0;
    return line;
  };

  return (chunk) => {
    const lines: Line[] = [];
    let start = 0;
    for (let newline = chunk.indexOf(0x0a); newline !== -1; newline = chunk.indexOf(0x0a, start)) {
      keep(chunk.subarray(start, newline));
      lines.push(end());
      start = newline + 1;
    }
    if (start < chunk.length) keep(chunk.subarray(start));
    return lines;
  };
}

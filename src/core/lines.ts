/** The first and last bytes of a line that was too long, up to 1 KiB each; the rest was dropped as it arrived. */
export interface LongLine {
  readonly head: Buffer;
  readonly tail: Buffer;
}

/** A line without its end. */
export type Line = Buffer | LongLine;

const maxEdgeBytes = 1024;

/** Cuts a stream of bytes into lines of at most `maxBytes`. Each call returns the lines that end in its chunk; holds one line at most. */
export function openLineCutter(maxBytes: number): (chunk: Buffer) => readonly Line[] {
  const edgeBytes = Math.min(maxEdgeBytes, maxBytes >> 1);
  let parts: Buffer[] = [];
  let length = 0;

  const keep = (part: Buffer): void => {
    const wasLong = length > maxBytes;
    length += part.length;
    parts.push(wasLong ? part.subarray(-edgeBytes) : part);
    if (length <= maxBytes) return;
    const kept = Buffer.concat(parts);
    parts = [Buffer.from(kept.subarray(0, edgeBytes)), Buffer.from(kept.subarray(kept.length - edgeBytes))];
  };
  const end = (): Line => {
    const [head = none, tail = none] = parts;
    const line = length > maxBytes ? { head, tail } : Buffer.concat(parts);
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

const none = Buffer.alloc(0);

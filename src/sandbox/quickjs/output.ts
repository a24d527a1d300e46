/**
 * Where a guest's prints go: memory that the worker fills and the main thread reads, so that they are there also when the worker had to
 * be killed. Three counters, then room for stdout, then the same room for stderr; both together never hold more than the limit.
 */
export type OutputBuffer = SharedArrayBuffer;

const counters = 3;
const headerBytes = counters * Int32Array.BYTES_PER_ELEMENT;
const cutAt = 2;

/**
 * An empty buffer for so many bytes: `used`, emptied, where it has that size, else a new one. A new one for each run would leave the
 * process with memory that its allocator keeps.
 */
export function toOutputBuffer(limitBytes: number, used?: OutputBuffer): OutputBuffer {
  const bytes = headerBytes + 2 * limitBytes;
  if (used?.byteLength !== bytes) return new SharedArrayBuffer(bytes);
  // What the last run printed goes; clearing the whole of it takes longer than many a run.
  for (const stream of [1, 2] as const) printed(used, stream).fill(0);
  new Int32Array(used, 0, counters).fill(0);
  return used;
}

/** Appends text to stream 1 (stdout) or 2 (stderr). False: the limit is reached, this text was cut, and no more is taken. */
export function appendOutput(buffer: OutputBuffer, stream: 1 | 2, text: string): boolean {
  const [counts, limit] = toParts(buffer);
  if (counts[cutAt] === 1) return false;
  const used = counts[stream - 1] ?? 0;
  const room = limit - (counts[0] ?? 0) - (counts[1] ?? 0);
  const start = headerBytes + (stream - 1) * limit + used;
  // encodeInto writes whole characters only, so that a cut text stays valid UTF-8.
  const { read, written } = new TextEncoder().encodeInto(text, new Uint8Array(buffer, start, room));
  counts[stream - 1] = used + written;
  if (read < text.length) counts[cutAt] = 1;
  return read === text.length;
}

/** What stands in the buffer. The counters are checked, since a worker filled them that may have been killed or worse. */
export function readOutput(buffer: OutputBuffer): {
  readonly stdout: string;
  readonly stderr: string;
  readonly outputCut: boolean;
} {
  const [counts] = toParts(buffer);
  const read = (stream: 1 | 2): string => new TextDecoder().decode(printed(buffer, stream).slice());
  return { stdout: read(1), stderr: read(2), outputCut: counts[cutAt] === 1 };
}

/** What stands in a stream's part. */
function printed(buffer: OutputBuffer, stream: 1 | 2): Uint8Array {
  const [counts, limit] = toParts(buffer);
  const length = Math.min(Math.max(0, counts[stream - 1] ?? 0), limit);
  return new Uint8Array(buffer, headerBytes + (stream - 1) * limit, length);
}

function toParts(buffer: OutputBuffer): readonly [counts: Int32Array, limit: number] {
  return [new Int32Array(buffer, 0, counters), (buffer.byteLength - headerBytes) / 2];
}

import type { Readable } from "node:stream";

/** What a guest prints, kept up to a limit that stdout and stderr share. */
export interface Output {
  /** How much came on a stream, kept or not. */
  received(stream: "stdout" | "stderr"): number;
  /** What was kept of a stream: well-formed text of at most as many bytes as were kept. */
  text(stream: "stdout" | "stderr"): string;
  /** Whether anything was dropped. */
  cut(): boolean;
}

/** Reads both streams from now on; `changed` is called after each piece. */
export function readOutput(
  streams: { readonly stdout: Readable; readonly stderr: Readable },
  maxBytes: number,
  changed: () => void,
): Output {
  const kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const received = { stdout: 0, stderr: 0 };
  let left = maxBytes;
  const read = (name: "stdout" | "stderr") => {
    streams[name].on("data", (chunk: Buffer) => {
      received[name] += chunk.length;
      const part = chunk.subarray(0, left);
      left -= part.length;
      if (part.length > 0) kept[name].push(part);
      changed();
    });
  };
  read("stdout");
  read("stderr");
  return {
    received: (stream) => received[stream],
    text: (stream) => toText(Buffer.concat(kept[stream])),
    cut: () => received.stdout + received.stderr > maxBytes,
  };
}

/** A byte that is no text becomes a character of three bytes, and a character may be cut in two: both are trimmed to the length. */
function toText(bytes: Buffer): string {
  const text = new TextDecoder().decode(bytes, { stream: true });
  if (Buffer.byteLength(text) <= bytes.length) return text;
  const trimmed = Buffer.alloc(bytes.length);
  const { written } = new TextEncoder().encodeInto(text, trimmed);
  return trimmed.toString("utf8", 0, written);
}

import type { Readable } from "node:stream";

/** What a guest prints, for all of its life. */
export interface Output {
  /** Forgets what was kept, and keeps what comes from now on, up to a limit that both streams share; `changed` is called after each piece. */
  begin(maxBytes: number, changed: () => void): void;
  /** How much has come on a stream since it was opened, kept or not. */
  received(stream: "stdout" | "stderr"): number;
  /** What was kept of a stream: well-formed text of at most as many bytes as were kept. */
  text(stream: "stdout" | "stderr"): string;
  /** Whether anything was dropped since `begin`. */
  cut(): boolean;
}

/** Reads both streams from now on. What comes before `begin` is dropped. */
export function openOutput(streams: { readonly stdout: Readable; readonly stderr: Readable }): Output {
  const received = { stdout: 0, stderr: 0 };
  let kept = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let left = 0;
  let isCut = false;
  let changed = () => {};
  const read = (name: "stdout" | "stderr") => {
    streams[name].on("data", (chunk: Buffer) => {
      received[name] += chunk.length;
      const part = chunk.subarray(0, left);
      left -= part.length;
      isCut ||= part.length < chunk.length;
      if (part.length > 0) kept[name].push(part);
      changed();
    });
  };
  read("stdout");
  read("stderr");
  return {
    begin(maxBytes, tell) {
      kept = { stdout: [], stderr: [] };
      left = maxBytes;
      isCut = false;
      changed = tell;
    },
    received: (stream) => received[stream],
    text: (stream) => toText(Buffer.concat(kept[stream])),
    cut: () => isCut,
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

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
  const kept = { stdout: openKeep(), stderr: openKeep() };
  let left = 0;
  let isCut = false;
  let changed = () => {};
  const read = (name: "stdout" | "stderr") => {
    streams[name].on("data", (chunk: Buffer) => {
      received[name] += chunk.length;
      const part = chunk.subarray(0, left);
      left -= part.length;
      isCut ||= part.length < chunk.length;
      kept[name].add(part);
      changed();
    });
  };
  read("stdout");
  read("stderr");
  return {
    begin(maxBytes, tell) {
      kept.stdout.clear();
      kept.stderr.clear();
      left = maxBytes;
      isCut = false;
      changed = tell;
    },
    received: (stream) => received[stream],
    text: (stream) => toText(kept[stream].bytes()),
    cut: () => isCut,
  };
}

/** Bytes, copied: pieces may be of one byte, and each as an object of its own would take a hundred times that. */
export function openKeep() {
  let room = Buffer.alloc(0);
  let length = 0;
  return {
    add(piece: Buffer): void {
      if (length + piece.length > room.length) {
        const wider = Buffer.alloc(Math.max(2 * room.length, length + piece.length));
        room.copy(wider, 0, 0, length);
        room = wider;
      }
      length += piece.copy(room, length);
    },
    bytes: () => room.subarray(0, length),
    clear(): void {
      room = Buffer.alloc(0);
      length = 0;
    },
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

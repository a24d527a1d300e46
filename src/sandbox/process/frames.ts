import type { Readable } from "node:stream";
import { maxCallBytes } from "../answer-call.ts";
import type { ExecLimits } from "../engine.ts";
import { Frame } from "./wire.ts";

/** The parts of a frame beside the value of the guest that it carries. */
const maxEnvelopeBytes = 1024 * 1024;

/**
 * Reads the frames of one run; null is what is no frame of it: too long, no JSON, not in form or without its nonce. After that nothing
 * is read any more.
 */
export function readFrames(
  frames: Readable,
  nonce: string,
  limits: Pick<ExecLimits, "artifactBytes" | "resultBytes">,
  take: (frame: Frame | null) => void,
): void {
  // JSON text within JSON text, and base64, take at most twice as much.
  const maxBytes = 2 * Math.max(limits.artifactBytes, limits.resultBytes, maxCallBytes) + maxEnvelopeBytes;
  let chunks: Buffer[] = [];
  let pending = 0;
  const stop = () => {
    frames.off("data", read);
    frames.resume();
    chunks = [];
    take(null);
  };
  const read = (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      chunks.push(chunk.subarray(start, end));
      start = end + 1;
      const frame = toFrame(Buffer.concat(chunks).toString(), nonce);
      chunks = [];
      pending = 0;
      if (frame === null) return stop();
      take(frame);
    }
    chunks.push(chunk.subarray(start));
    pending += chunk.length - start;
    if (pending > maxBytes) stop();
  };
  frames.on("data", read);
}

function toFrame(line: string, nonce: string): Frame | null {
  try {
    const frame = Frame.safeParse(JSON.parse(line));
    return frame.success && "nonce" in frame.data && frame.data.nonce === nonce ? frame.data : null;
  } catch {
    return null;
  }
}

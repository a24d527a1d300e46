import type { Readable } from "node:stream";
import { maxCallBytes } from "../answer-call.ts";
import type { ExecLimits } from "../engine.ts";
import { openKeep } from "./output.ts";
import { Frame } from "./wire.ts";

/** The parts of a frame beside the value of the guest that it carries. */
const maxEnvelopeBytes = 1024 * 1024;

/** A frame that carries the nonce of a run. */
type RunFrame = Extract<Frame, { readonly nonce: string }>;

/** What a guest says, for all of its life. */
export interface Frames {
  /**
   * Passes on the frames of one run until it is disposed of; null is what is no frame of this guest: too long, no JSON, not in form or
   * without a nonce that it was given. After that nothing is read any more. A frame of an earlier run comes too late, and is dropped.
   */
  listen(
    nonce: string,
    limits: Pick<ExecLimits, "artifactBytes" | "resultBytes">,
    take: (frame: RunFrame | null) => void,
  ): Disposable;
}

interface Listener {
  readonly nonce: string;
  readonly maxBytes: number;
  readonly take: (frame: RunFrame | null) => void;
}

/** Reads the frames of a guest from now on. What comes while nobody listens is dropped. */
export function openFrames(stream: Readable): Frames {
  const nonces = new Set<string>();
  let listener: Listener | undefined;
  const pending = openKeep();
  let isBroken = false;
  const fail = () => {
    isBroken = true;
    pending.clear();
    listener?.take(null);
  };
  const takeLine = (line: string) => {
    if (listener === undefined || isBroken) return;
    const frame = toFrame(line);
    if (frame === null || !nonces.has(frame.nonce)) fail();
    else if (frame.nonce === listener.nonce) listener.take(frame);
  };
  stream.on("data", (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      pending.add(chunk.subarray(start, end));
      start = end + 1;
      const line = pending.bytes().toString();
      pending.clear();
      takeLine(line);
    }
    if (isBroken) return;
    pending.add(chunk.subarray(start));
    if (pending.bytes().length > (listener?.maxBytes ?? maxEnvelopeBytes)) fail();
  });
  return {
    listen(nonce, limits, take) {
      // JSON text within JSON text, and base64, take at most twice as much.
      const maxBytes = 2 * Math.max(limits.artifactBytes, limits.resultBytes, maxCallBytes) + maxEnvelopeBytes;
      nonces.add(nonce);
      listener = { nonce, maxBytes, take };
      if (isBroken) take(null);
      return { [Symbol.dispose]: () => void (listener = undefined) };
    },
  };
}

function toFrame(line: string): RunFrame | null {
  try {
    const frame = Frame.safeParse(JSON.parse(line));
    return frame.success && "nonce" in frame.data ? frame.data : null;
  } catch {
    return null;
  }
}

import { Readable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { openFrames } from "../../src/sandbox/process/frames.ts";
import { testLimits } from "./hostile.ts";

const nonce = "7a0ab1e6-8f5c-4a12-9d3a-3f1b4d8c2f11";
const done = JSON.stringify({
  type: "done",
  nonce,
  status: "ok",
  resultJson: '"é"',
  stdoutBytes: 0,
  stderrBytes: 0,
});

test("a frame is read however its bytes arrive, and so are those behind it", () => {
  const bytes = Buffer.from(`${done}\n`.repeat(3));
  for (const length of [1, 2, 7, done.length, bytes.length]) {
    const stream = new Readable({ read: () => undefined });
    const taken: unknown[] = [];
    using _ = openFrames(stream).listen(nonce, testLimits, (frame) => taken.push(frame));
    for (let at = 0; at < bytes.length; at += length) stream.emit("data", bytes.subarray(at, at + length));
    expect(taken).toEqual([done, done, done].map((text) => JSON.parse(text)));
  }
});

test("a frame whose bytes come one by one takes the room of its bytes", () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const used = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const stream = new Readable({ read: () => undefined });
  const taken: unknown[] = [];
  using _ = openFrames(stream).listen(nonce, testLimits, (frame) => taken.push(frame));
  const before = used();
  const length = 500_000;
  for (let sent = 0; sent < length; sent += 1) stream.emit("data", Buffer.alloc(1, "x"));
  expect(used() - before).toBeLessThan(8 * length);
  expect(taken).toEqual([]);
  stream.emit("data", Buffer.alloc(1, "\n"));
  expect(taken).toEqual([null]);
});

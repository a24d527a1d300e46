import { PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { ExecRequest, ExecResult, Isolation } from "../../src/sandbox/engine.ts";
import { conduct, takeGuest } from "../../src/sandbox/process/conduct.ts";
import type { Guest } from "../../src/sandbox/process/guest.ts";
import type { Reading } from "../../src/sandbox/process/meter.ts";
import { testLimits } from "./hostile.ts";

const isolation: Isolation = { engine: "test", level: "wasm-in-child", network: "none" };
const request: ExecRequest = { language: "python", code: "", files: [], limits: testLimits };

/** A guest of a session that ends each of its orders at once, with one file in the output folder. */
function openSession(meter: () => Reading | null = () => null): () => Promise<ExecResult> {
  const [orders, frames, other] = [new PassThrough(), new PassThrough(), new PassThrough()];
  orders.on("data", (order: Buffer) => {
    const { nonce } = JSON.parse(order.toString());
    const data = Buffer.from("kept").toString("base64");
    const done = { type: "done", nonce, status: "ok", resultJson: "1", stdoutBytes: 0, stderrBytes: 0 };
    for (const frame of [{ type: "artifact", nonce, path: "a", data }, done])
      frames.write(`${JSON.stringify(frame)}\n`);
  });
  const guest: Guest = {
    ...{ orders, frames, stdout: other, stderr: other, answers: other },
    gone: Promise.withResolvers<void>().promise,
    meter,
    diagnostics: () => "",
    hold: () => undefined,
    freeze: () => undefined,
    kill: () => undefined,
  };
  const taken = takeGuest(guest, true);
  return () => conduct(taken, request, isolation, new AbortController().signal);
}

test("what came out of a run is not kept until the end of its session", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const run = openSession();
  const first = await run().then(({ artifacts }) => new WeakRef(artifacts[0] ?? {}));
  expect((await run()).artifacts).toEqual([{ path: "a", bytes: Buffer.from("kept") }]);
  await turn();
  collect();
  expect(first.deref()).toBeUndefined();
  // The session is still there.
  expect(await run()).toMatchObject({ status: "ok" });
});

test("a run whose count of processor time falls has used none", async () => {
  const readings = [900, 900, 50].map((cpuMs) => ({ cpuMs, residentBytes: 1, peakBytes: 1 }));
  const run = openSession(() => (readings.length > 1 ? readings.shift() : readings[0]) ?? null);
  expect((await run()).usage.cpuMs).toBe(0);
});

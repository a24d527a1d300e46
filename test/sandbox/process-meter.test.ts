import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { readMeter } from "../../src/sandbox/process/meter.ts";
import { testWith } from "../support/machine.ts";

testWith("linux")("a process that has ended is not measured as one that uses no memory", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  await once(child, "spawn");
  const pid = child.pid ?? Number.NaN;
  // Right after fork, it shares its parent's memory for a moment.
  await sleep(50);
  expect(readMeter(pid)?.residentBytes).toBeGreaterThan(0);
  expect(readMeter(pid)?.peakBytes).toBeGreaterThan(0);
  child.kill("SIGKILL");
  // Nobody waits for it while this thread is held, so it stays listed.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  expect(readMeter(pid)).toBeNull();
  await once(child, "exit");
  expect(readMeter(pid)).toBeNull();
});

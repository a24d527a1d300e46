import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "vitest";

const mebibyte = 1024 * 1024;

/** Waits until this process holds at most 20 % more than `baseline`, or 48 MiB, which is what V8 and the allocator keep of their own accord. */
export async function expectMemoryBack(baseline: number): Promise<void> {
  const allowed = baseline + Math.max(baseline * 0.2, 48 * mebibyte);
  const deadline = Date.now() + 60_000;
  while (collectedRss() > allowed && Date.now() < deadline) await sleep(50);
  expect(collectedRss()).toBeLessThan(allowed);
}

/** The resident memory of this process after a garbage collection, in bytes. */
export function collectedRss(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") collect();
  return process.memoryUsage.rss();
}

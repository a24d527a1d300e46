import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { openDeadline } from "../../src/core/deadline.ts";

test("openDeadline() ends after its time, and counts no pause", async () => {
  const over = Promise.withResolvers<void>();
  const startedAt = performance.now();
  using deadline = openDeadline(100, over.resolve);
  const [first, second] = [deadline.pause(), deadline.pause()];
  await sleep(150);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  await sleep(50);
  expect(deadline.elapsedMs()).toBeLessThan(50);
  second[Symbol.dispose]();
  await over.promise;
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(290);
  expect(deadline.elapsedMs()).toBeGreaterThanOrEqual(99);
});

test("openDeadline() never ends once it is disposed of, whatever is resumed", async () => {
  let ended = 0;
  const deadline = openDeadline(20, () => (ended += 1));
  const pause = deadline.pause();
  deadline[Symbol.dispose]();
  pause[Symbol.dispose]();
  await sleep(60);
  expect(ended).toBe(0);
});

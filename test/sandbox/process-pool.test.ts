import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import type { Guest } from "../../src/sandbox/process/guest.ts";
import { openPool } from "../../src/sandbox/process/pool.ts";
import { toSandbox } from "../../src/sandbox/process/sandbox.ts";

const never = new AbortController().signal;

/** A guest that is nothing but alive or gone. */
function toGuest(): Guest & { isGone(): boolean } {
  const gone = Promise.withResolvers<void>();
  let isGone = false;
  const stream = new PassThrough();
  return {
    stdout: stream,
    stderr: stream,
    frames: stream,
    orders: stream,
    answers: stream,
    meter: () => null,
    diagnostics: () => "",
    hold: () => undefined,
    freeze: () => undefined,
    kill() {
      isGone = true;
      gone.resolve();
    },
    gone: gone.promise,
    isGone: () => isGone,
  };
}

test("guests that nobody takes for a while are given up, and the next one is new", async () => {
  const started: ReturnType<typeof toGuest>[] = [];
  await using pool = openPool({ warm: 2, maxTaken: 4, idleMs: 300 }, async () => {
    const guest = toGuest();
    started.push(guest);
    return guest;
  });
  const lease = await pool.take(never);
  await sleep(200);
  expect(started.map((guest) => guest.isGone())).toEqual([false, false, false]);
  await sleep(300);
  // The one that was taken is nobody else's to end.
  expect(started.map((guest) => guest.isGone())).toEqual([false, true, true]);
  const next = await pool.take(never);
  expect(started.indexOf(next.guest)).toBe(3);
  next.end(false);
  lease.end(false);
});

test("no more boot at a time than there are processors, and those that wait come in their turn", async () => {
  let booting = 0;
  let most = 0;
  const count = 2 * availableParallelism() + 1;
  await using pool = openPool({ warm: 0, maxTaken: count }, async () => {
    booting += 1;
    most = Math.max(most, booting);
    await sleep(20);
    booting -= 1;
    return toGuest();
  });
  const leases = await Promise.all(Array.from({ length: count }, () => pool.take(never)));
  expect(new Set(leases.map(({ guest }) => guest)).size).toBe(count);
  expect(most).toBe(availableParallelism());
  for (const { end } of leases) end(false);
});

test("closing ends the wait of those whose guest has not begun to boot", async () => {
  const pool = openPool({ warm: 0, maxTaken: 100 }, async (signal) => {
    await sleep(10_000, undefined, { signal });
    return toGuest();
  });
  const waiting = Array.from({ length: availableParallelism() + 2 }, () =>
    pool.take(never).catch((error: unknown) => error),
  );
  await sleep(20);
  await pool[Symbol.asyncDispose]();
  for (const answer of waiting) expect(await answer).toMatchObject({ code: "sandbox.unavailable" });
});

test("a guest whose unused sandbox is disposed of twice is nobody else's twice", async () => {
  await using pool = openPool({ warm: 2, maxTaken: 4 }, async () => toGuest());
  const isolation = { engine: "test", level: "wasm-in-child", network: "none" } as const;
  const lease = await pool.take(never);
  const sandbox = toSandbox(lease, { language: "python" }, isolation, never);
  await sandbox[Symbol.asyncDispose]();
  const taker = await pool.take(never);
  expect(taker.guest).toBe(lease.guest);
  await sandbox[Symbol.asyncDispose]();
  const other = await pool.take(never);
  expect(other.guest).not.toBe(taker.guest);
  taker.end(false);
  other.end(false);
});

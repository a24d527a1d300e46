import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { openWorkerPool } from "../../src/sandbox/quickjs/pool.ts";

const never = new AbortController().signal;
const isLive = ({ threadId }: Worker): boolean => threadId > 0;

describe("the pool of JavaScript workers", () => {
  test("keeps a clean worker for the next run, and ends one that is not", async () => {
    await using pool = openWorkerPool({ size: 1 });
    const first = await pool.take(never);
    await pool.give(first, true);
    const second = await pool.take(never);
    expect(second).toBe(first);
    await pool.give(second, false);
    expect(isLive(second)).toBe(false);
    const third = await pool.take(never);
    expect(isLive(third)).toBe(true);
    await pool.give(third, true);
  });

  test("lets a guest beyond its size wait for a worker that is given back, and no longer than a moment", async () => {
    await using pool = openWorkerPool({ size: 1 });
    const first = await pool.take(never);
    const second = pool.take(never);
    await pool.give(first, true);
    expect(await second).toBe(first);
    const third = await pool.take(never);
    expect(third).not.toBe(first);
    // One that was ended is no worker for anybody, but the end of its run is.
    const fourth = pool.take(never);
    await pool.give(third, false);
    expect(isLive(await fourth)).toBe(true);
    await pool.give(await fourth, true);
    await pool.give(first, true);
  });

  test("ends the workers that had nothing to do for a while, and only those", async () => {
    await using pool = openWorkerPool({ size: 2, idleMs: 150 });
    const [idle, busy] = await Promise.all([pool.take(never), pool.take(never)]);
    await pool.give(idle, true);
    await once(idle, "exit");
    expect(isLive(busy)).toBe(true);
    await pool.give(busy, true);
    expect(await pool.take(never)).toBe(busy);
    await pool.give(busy, true);
    await once(busy, "exit");
    const next = await pool.take(never);
    expect(isLive(next)).toBe(true);
    await pool.give(next, true);
  });

  test("a guest that gives up waiting takes no worker away", async () => {
    await using pool = openWorkerPool({ size: 1 });
    const first = await pool.take(never);
    const abandoned = new AbortController();
    const waiting = pool.take(abandoned.signal).catch((error: unknown) => error);
    await sleep(1);
    abandoned.abort(new Error("abandoned"));
    await pool.give(first, true);
    expect(await waiting).toMatchObject({ message: "abandoned" });
    expect(await pool.take(never)).toBe(first);
    await pool.give(first, true);
  });

  test("does not give a worker that died while it waited", async () => {
    await using pool = openWorkerPool({ size: 1 });
    const first = await pool.take(never);
    await pool.give(first, true);
    const gone = once(first, "exit");
    await first.terminate();
    await gone;
    const second = await pool.take(never);
    expect(second).not.toBe(first);
    expect(isLive(second)).toBe(true);
    await pool.give(second, true);
  });

  test("bounds how many compute at a time, and lets one that waits for the host leave its turn", async () => {
    await using pool = openWorkerPool({ size: 1, maxBusy: 1 });
    const outer = await pool.take(never);
    const order: string[] = [];
    const abandoned = new AbortController();
    const waiting = pool.take(abandoned.signal);
    const inner = pool.take(never).then((worker) => {
      order.push("inner");
      return worker;
    });
    abandoned.abort(new Error("abandoned"));
    await expect(waiting).rejects.toThrow("abandoned");
    order.push("outer waits");
    pool.wait(1);
    await pool.give(await inner, true);
    pool.wait(-1);
    const last = pool.take(never).then((worker) => {
      order.push("last");
      return worker;
    });
    order.push("outer ends");
    await pool.give(outer, true);
    await pool.give(await last, true);
    expect(order).toEqual(["outer waits", "inner", "outer ends", "last"]);
  });

  test("closes with all that it gave, and refuses those that wait", async () => {
    const pool = openWorkerPool({ size: 1, maxBusy: 2 });
    const taken = await pool.take(never);
    const waiting = Array.from({ length: 2 }, () => pool.take(never).catch((error: unknown) => error));
    await pool[Symbol.asyncDispose]();
    for (const answer of waiting) expect(await answer).toMatchObject({ code: "sandbox.unavailable" });
    expect(isLive(taken)).toBe(false);
    await expect(pool.take(never)).rejects.toMatchObject({ code: "sandbox.unavailable" });
  });
});

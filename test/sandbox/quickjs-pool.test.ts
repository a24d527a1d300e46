import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { openWorkerPool } from "../../src/sandbox/quickjs/pool.ts";

const never = new AbortController().signal;
const isLive = ({ threadId }: Worker): boolean => threadId > 0;

describe("the pool of JavaScript workers", () => {
  test("keeps a clean worker for the next run, and ends one that is not", async () => {
    await using pool = openWorkerPool(1);
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

  test("keeps no more than its size", async () => {
    await using pool = openWorkerPool(1);
    const workers = await Promise.all([pool.take(never), pool.take(never)]);
    for (const worker of workers) await pool.give(worker, true);
    expect(workers.map(isLive)).toEqual([true, false]);
  });

  test("does not give a worker that died while it waited", async () => {
    await using pool = openWorkerPool(1);
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
    await using pool = openWorkerPool(1, 1);
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
    const pool = openWorkerPool(1, 1);
    const taken = await pool.take(never);
    const waiting = pool.take(never).catch((error: unknown) => error);
    await pool[Symbol.asyncDispose]();
    expect(await waiting).toMatchObject({ code: "sandbox.unavailable" });
    expect(isLive(taken)).toBe(false);
    await expect(pool.take(never)).rejects.toMatchObject({ code: "sandbox.unavailable" });
  });
});

import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, test, vi } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { openInstances } from "../../src/sandbox/quickjs/instance.ts";
import { openModules } from "../../src/sandbox/quickjs/module.ts";
import { runIn, testLimits } from "./hostile.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const run = (code: string, over?: Parameters<typeof runIn>[3]) => runIn(engine, "javascript", code, over);

describe("one run after the other", () => {
  test("random numbers differ between interpreters that start in the same millisecond (J94)", async () => {
    const bounded = await openModules()(testLimits.memoryBytes);
    const random = async (): Promise<number> => {
      const instances = openInstances();
      instances.add(bounded);
      const { vm } = await instances.open({ maxBytes: bounded.maxBytes, limits: testLimits }, () => {});
      return vm.evalCode("Math.random()").toNumber();
    };
    const numbers = await Promise.all(Array.from({ length: 50 }, random));
    expect(new Set(numbers).size).toBe(50);
    expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
  });

  test("an interpreter that was started ahead is as new as another: own random numbers, own clock", async () => {
    const bounded = await openModules()(testLimits.memoryBytes);
    const spec = { maxBytes: bounded.maxBytes, limits: testLimits };
    const instances = openInstances();
    instances.add(bounded);
    const probe = async (): Promise<unknown> => {
      const { vm } = await instances.open(spec, () => {});
      return JSON.parse(vm.evalCode("JSON.stringify([Math.random(), performance.now()])").toString());
    };
    const seen: unknown[] = [];
    for (let round = 0; round < 3; round += 1) {
      seen.push(await probe());
      instances.prepare();
      await sleep(300);
    }
    const [randoms, times] = [0, 1].map((column) =>
      seen.map((row) => (Array.isArray(row) ? Number(row[column]) : NaN)),
    );
    expect(new Set(randoms).size).toBe(3);
    expect(times?.every((ms) => ms >= 0 && ms < 250)).toBe(true);
  });

  test("memory grows by megabytes, since V8 collects garbage at each growth", async () => {
    const bounded = await openModules()(testLimits.memoryBytes);
    const instances = openInstances();
    instances.add(bounded);
    const spec = { maxBytes: bounded.maxBytes, limits: testLimits };
    const { vm, memoryBytes, growInSteps } = await instances.open(spec, () => {});
    growInSteps();
    const before = memoryBytes();
    expect(vm.evalCode("new Uint8Array(1_000_000).fill(1).length").toNumber()).toBe(1_000_000);
    expect(memoryBytes() - before).toBeGreaterThanOrEqual(2 * 1024 * 1024);
    const small = await run("1 + 1");
    expect(small.usage.memoryBytes).toBeLessThan(2 * 1024 * 1024);
  });

  test("a worker is given the code of the interpreter once, not with each run", async () => {
    const post = vi.spyOn(Worker.prototype, "postMessage");
    const single = openQuickjsEngine({ workers: 1 });
    for (let round = 1; round <= 3; round += 1) {
      expect(await runIn(single, "javascript", `${round}`)).toMatchObject({ status: "ok", result: round });
    }
    const isModule = (value: unknown): boolean =>
      Object.prototype.toString.call(value) === "[object WebAssembly.Module]";
    const sent = post.mock.calls.flatMap(([message]) => Object.values(Object(message)).filter(isModule));
    expect(sent).toHaveLength(1);
    post.mockRestore();
    await single[Symbol.asyncDispose]();
  });

  test("the clock is the real one, in UTC", async () => {
    const { result } = await run(
      "[new Date(0).getHours(), performance.now() < 10_000, Math.abs(Date.now() - NOW)]".replace(
        "NOW",
        `${Date.now()}`,
      ),
    );
    expect(result).toEqual([0, true, expect.toSatisfy((offMs: number) => offMs < 60_000)]);
  });

  test("the answer to a call of an earlier run in the same worker goes nowhere (J95)", async () => {
    const late = Promise.withResolvers<Json>();
    const single = openQuickjsEngine({ workers: 1 });
    const first = await runIn(single, "javascript", "tools.slow({}); tools.slow({}); 1", {
      onCall: () => late.promise,
    });
    expect(first).toMatchObject({ status: "ok", result: 1 });
    const asked = Promise.withResolvers<void>();
    const second = runIn(single, "javascript", "await tools.other({})", {
      onCall: async () => {
        asked.resolve();
        await sleep(50);
        return "second";
      },
    });
    await asked.promise;
    late.resolve("first");
    expect(await second).toMatchObject({ status: "ok", result: "second" });
    await single[Symbol.asyncDispose]();
  });

  test("nested runs, more of them than may compute at a time, come to their end", async () => {
    const limits = { wallMs: 100_000 };
    const nest = async (depth: number): Promise<Json> => {
      const onCall = (): Promise<Json> => (depth === 0 ? Promise.resolve("bottom") : nest(depth - 1));
      return (await run("await tools.deeper({})", { onCall, limits })).result;
    };
    const ends = await Promise.all(Array.from({ length: 9 }, () => nest(1)));
    expect(new Set(ends)).toEqual(new Set(["bottom"]));
  });
});

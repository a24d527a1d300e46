import { afterAll, describe, expect, test } from "vitest";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { killMs } from "../sandbox/hostile.ts";
import { testTool, valueOf } from "../support/door.ts";
import { openCodeDoor } from "./code-door.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());

const spin = (ms: number): string => `const until = Date.now() + ${ms}; while (Date.now() < until); 7`;

/** A door with a grant whose processor time is less than what one run may have by the config. */
async function openCapped(cpuMs: number, options: Parameters<typeof openCodeDoor>[1] = {}) {
  const capstan = await openCodeDoor([engine], options);
  const by = { grant: { ...capstan.grant, limits: { cpuMs } } };
  const usedMs = async (): Promise<number> =>
    (await capstan.store.used([capstan.grant.id])).get(capstan.grant.id)?.cpuMs ?? 0;
  return { ...capstan, by, usedMs };
}

describe("a cap of processor time", () => {
  test("lets code run until it is used up, whatever each run might have taken, and no longer", async () => {
    const cap = 5_000;
    await using capstan = await openCapped(cap);
    const { by } = capstan;
    for (let run = 0; run < 4; run += 1) {
      const { outcome } = await capstan.run(spin(100), {}, { by });
      expect(valueOf(outcome)).toMatchObject({ status: "ok", result: 7 });
    }
    const last = await capstan.run("for (;;);", {}, { by });
    expect(valueOf(last.outcome)).toMatchObject({
      status: "timeout",
      error: expect.stringMatching(/\nbudget\.cpu: Its grant left it \d+ ms of CPU time\./),
    });
    expect(await capstan.usedMs()).toBeGreaterThanOrEqual(cap);
    expect(await capstan.usedMs()).toBeLessThan(cap + killMs);
    await expect(capstan.run("1", {}, { by })).rejects.toMatchObject({ code: "budget.cpu" });
  });

  test("is there for code that runs code too, and counts both", async () => {
    await using capstan = await openCapped(20_000);
    const { by } = capstan;
    const one = (code: string) =>
      `(await tools.execute_code({ language: "javascript", code: ${JSON.stringify(code)} }))`;
    const { outcome } = await capstan.run(
      `[${one("1 + 1")}.result, ${one(`${one("2 + 2")}.result`)}.result]`,
      {},
      { by },
    );
    expect(valueOf(outcome)).toMatchObject({ status: "ok", result: [2, 4] });
    expect(await capstan.usedMs()).toBeLessThan(20_000);
    const outer = Object(valueOf(outcome)).usage.cpuMs;
    expect(await capstan.usedMs()).toBeGreaterThan(outer);
  });

  test("is held by a run that may still take it: another at the same time is told so", async () => {
    const [running, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const gate = testTool("gate", {
      run: async () => {
        running.resolve();
        await goOn.promise;
        return { type: "done", value: "x" };
      },
    });
    await using capstan = await openCapped(10_000, { others: [gate] });
    const { by } = capstan;
    const first = capstan.run("await tools.gate({})", {}, { by });
    await running.promise;
    await expect(capstan.run("1", {}, { by })).rejects.toMatchObject({
      code: "budget.cpu",
      message: expect.stringContaining("10000/10000 ms of CPU time (with what running calls hold)"),
    });
    goOn.resolve();
    expect(valueOf((await first).outcome)).toMatchObject({ result: "x" });
    expect(valueOf((await capstan.run("1 + 1", {}, { by })).outcome)).toMatchObject({ result: 2 });
  });

  test.for([
    ["an artifact that is not there", [{ path: "x", artifact: `capstan://artifacts/artifact_${"0".repeat(32)}` }]],
    [
      "files that can't be",
      [
        { path: "a/b", text: "" },
        { path: "a", text: "" },
      ],
    ],
  ] as const)("is left as it was by a call that runs no code, for %s", async ([, files]) => {
    await using capstan = await openCapped(10_000);
    const { by } = capstan;
    const rights = { ...by.grant.rights, resources: [{ type: "uri" as const, under: "capstan://artifacts/" }] };
    const { outcome } = await capstan.run("1", { files }, { by: { grant: { ...by.grant, rights } } });
    expect(outcome).toMatchObject({ isError: true });
    expect(await capstan.usedMs()).toBe(0);
  });
});

import { describe, expect, test } from "vitest";
import type { Price } from "../../../src/host/config.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import { estimateAmounts } from "../../../src/host/price.ts";
import { openTestHost } from "../scripted.ts";
import type { Fate } from "./faulty.ts";
import { faulty, simpleRequest } from "./faulty.ts";

const away: Fate = { code: "provider.unavailable" };
const limited: Fate = { code: "provider.rate_limited" };
const price = { input: 0, output: 1 };

/** One run of a model whose answer uses ten tokens: how it ended, and what its grant was charged. */
async function spend(fates: readonly Fate[], over: { tokens?: number; model?: string; config?: object } = {}) {
  const provider = faulty("scripted", fates);
  const config = HostConfig.parse({ prices: { scripted: price }, ...over.config });
  const limits = over.tokens === undefined ? {} : { tokens: over.tokens };
  await using at = await openTestHost({ tools: [], provider, config, grant: { limits } });
  const outcome = await at.start("Say something.", { model: over.model ?? "scripted" });
  const used = (await at.store.used([at.grant.id])).get(at.grant.id);
  const events = await at.events(outcome.runId);
  return { outcome, tokens: used?.tokens ?? 0, cost: used?.costMicroUsd ?? 0, attempts: provider.attempts(), events };
}

describe("the charge of a model call", () => {
  test("is what its answer used and, for each attempt that may have been billed unseen, the estimate", async () => {
    const once = await spend([]);
    expect([once.tokens, once.cost]).toEqual([10, 10]);
    const twice = await spend([away]);
    const estimate = twice.tokens - 10;
    expect(estimate).toBeGreaterThan(4_096);
    expect((await spend([away, away])).tokens).toBe(10 + 2 * estimate);
    expect((await spend([away, limited, "cut"])).tokens).toBe(10 + 2 * estimate);
    const failed = await spend([away, away, away, away]);
    expect(failed.outcome).toMatchObject({ status: "failed", code: "provider.unavailable", costMicroUsd: 0 });
    expect(failed.tokens).toBe(4 * estimate);
  });

  test("is nothing for attempts that were turned away", async () => {
    expect((await spend([limited, limited])).tokens).toBe(10);
    for (const code of ["provider.sign_in", "provider.unknown"] as const) {
      expect((await spend([{ code }])).tokens).toBe(0);
    }
  });

  test.each<[string, Fate, number]>([
    ["a retry", away, 1],
    ["its turn in the queue", limited, 0],
  ])("is nothing for waiting for %s when its time is over", async (_, fate, billed) => {
    const estimate = (await spend([away])).tokens - 10;
    const provider = faulty("scripted", Array(9).fill(fate));
    await using at = await openTestHost({ tools: [], provider });
    const config = HostConfig.parse({ retries: { callMs: 100, rateLimited: { retries: 0 } } });
    const sleep = (_ms: number, signal: AbortSignal): Promise<never> =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const host = at.open(openPolicies({ config, open: () => provider, sleep }));
    const signal = new AbortController().signal;
    const outcome = await host.start({ task: "Say something.", model: "scripted", grant: at.grant, signal });
    expect(outcome).toMatchObject({ status: "failed", code: "provider.timeout" });
    expect((await at.store.used([at.grant.id])).get(at.grant.id)?.tokens ?? 0).toBe(billed * estimate);
  });

  test("ends the attempts where the budget ends", async () => {
    const both = 2 * ((await spend([away])).tokens - 10);
    const enough = await spend([away], { tokens: both });
    expect(enough).toMatchObject({ attempts: 2, outcome: { status: "done" } });
    const short = await spend([away], { tokens: both - 1 });
    expect(short).toMatchObject({ attempts: 1, outcome: { status: "limit", code: "budget.tokens" } });
    expect(short.tokens).toBe(both / 2);
  });

  test("counts what a model used that declined, each at its own price", async () => {
    const config = {
      providers: { x: {} },
      routes: { both: { models: ["x:a", "x:b"], declined: "next" } },
      prices: { "x:a": { input: 0, output: 3 }, "x:b": { input: 0, output: 5 } },
    };
    const { outcome, tokens, cost, events } = await spend(["refusal"], { model: "both", config });
    expect(outcome).toMatchObject({ status: "done", usage: { output: 20 }, costMicroUsd: 80 });
    expect([tokens, cost]).toEqual([20, 80]);
    expect(events.find(({ type }) => type === "model.answered")).toMatchObject({
      model: "x:b",
      notices: [{ type: "failover", model: "x:a", next: "x:b", usage: { output: 10 } }],
    });
  });

  test("is reserved at the highest price of a route", async () => {
    const config = {
      providers: { x: {} },
      routes: { both: { models: ["x:a", "x:b"] } },
      prices: { "x:a": { input: 0, output: 1 }, "x:b": { input: 0, output: 1_000 } },
      settings: { maxOutputTokens: 100 },
    };
    const { outcome, attempts } = await spend([], {
      model: "both",
      config: { ...config, limits: { costMicroUsd: 50_000 } },
    });
    expect(attempts).toBe(0);
    expect(outcome).toMatchObject({ status: "limit", code: "budget.cost" });
    expect(
      (await spend([], { model: "x:a", config: { ...config, limits: { costMicroUsd: 50_000 } } })).outcome.status,
    ).toBe("done");
  });
});

describe("the estimate of a call", () => {
  const costOf = (over: Partial<typeof simpleRequest>, dear: Partial<Price> = {}): number =>
    estimateAmounts({ ...simpleRequest, ...over }, { input: 0, output: 1, ...dear }).costMicroUsd ?? 0;

  test("has the longest answer that the settings allow and the model's window holds", () => {
    expect(costOf({})).toBe(4_096);
    expect(costOf({ settings: { maxOutputTokens: 100_000 } })).toBe(100_000);
    expect(costOf({ settings: { maxOutputTokens: 100_000 }, windowTokens: 8_000 })).toBe(8_000);
    expect(costOf({ windowTokens: 2_000 })).toBe(2_000);
  });

  test("takes all input for as dear as any of it may be", () => {
    const input = costOf({}, { input: 1, output: 0 });
    expect(input).toBeGreaterThan(0);
    expect(costOf({}, { input: 1, output: 0, cacheRead: 0 })).toBe(input);
    expect(costOf({}, { input: 1, output: 0, cacheWrite5m: 3 })).toBe(3 * input);
  });
});

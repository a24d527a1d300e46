import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { ModelRequest } from "../../src/host/provider.ts";
import { HostConfig } from "../../src/host/config.ts";
import { handClock } from "../support/clock.ts";
import { testTool } from "../support/door.ts";
import { failing, free, openTestHost, scripted, toEvents } from "./scripted.ts";

const echo = testTool("echo");
const forever = scripted(
  Array.from({ length: 50 }, (_, turn) => ({ text: `turn ${turn}`, calls: [["echo", {}] as const] })),
);

describe("the limits of a run", () => {
  test("end it after its turns, with the last that the model said", async () => {
    await using at = await openTestHost({ tools: [echo], provider: forever });
    const outcome = await at.start("go on", { limits: { turns: 3 } });
    expect(outcome).toMatchObject({ status: "limit", code: "run.turns", turns: 3, toolCalls: 3, answer: "turn 2" });
    expect(outcome.message).toContain("--max-turns");
  });

  test("end it after its time by the clock of its events", async () => {
    const clock = handClock();
    const slow = testTool("echo", {
      run: async () => {
        clock.advance(400);
        return { type: "done" };
      },
    });
    await using at = await openTestHost({ tools: [slow], provider: forever, clock });
    expect(await at.start("go on", { limits: { timeMs: 1_000 } })).toMatchObject({
      status: "limit",
      code: "run.time",
      turns: 3,
      wallMs: 1_200,
    });
  });

  test("take no harm from a clock that is set back", async () => {
    const clock = handClock();
    const moves = [600, -3_600_000, 600];
    const moving = testTool("echo", {
      run: async () => {
        clock.advance(moves.shift() ?? 0);
        return { type: "done" };
      },
    });
    const provider = scripted([
      ...Array.from({ length: 4 }, () => ({ calls: [["echo", {}] as const] })),
      { text: "done" },
    ]);
    await using at = await openTestHost({ tools: [moving], provider, clock });
    const outcome = await at.start("go on", { limits: { timeMs: 10_000 } });
    expect(outcome).toMatchObject({ status: "done", wallMs: 600 });
    const times = (await at.events(outcome.runId)).map((event) => event.at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });

  test("stop a tool that is running when the time is over", async () => {
    const stuck = testTool("stuck", { run: (_, { signal }) => wait(60_000, { type: "done" as const }, { signal }) });
    const provider = scripted([{ calls: [["stuck", {}]] }, { text: "done" }]);
    await using at = await openTestHost({ tools: [stuck], provider });
    const started = performance.now();
    const outcome = await at.start("wait", { limits: { timeMs: 50 } });
    expect(outcome).toMatchObject({ status: "limit", code: "run.time" });
    expect(performance.now() - started).toBeLessThan(30_000);
    const finished = (await at.events(outcome.runId)).find(({ type }) => type === "tool.finished");
    expect(finished).toMatchObject({ outcome: { isError: true, code: "run.time" } });
  });

  test("stop a model that is silent when the time is over", async () => {
    const provider = scripted([], {
      async *stream(_, signal) {
        await wait(60_000, undefined, { signal }).catch(() => signal.throwIfAborted());
        yield* toEvents({ text: "too late" });
      },
    });
    await using at = await openTestHost({ tools: [echo], provider });
    expect(await at.start("wait", { limits: { timeMs: 50 } })).toMatchObject({ status: "limit", code: "run.time" });
  });

  test("end it when the grant's calls are used up, across its runs", async () => {
    await using at = await openTestHost({ tools: [echo], provider: forever, grant: { limits: { calls: 5 } } });
    expect(await at.start("one", { limits: { turns: 3 } })).toMatchObject({ code: "run.turns", toolCalls: 3 });
    expect(await at.start("two")).toMatchObject({ status: "limit", code: "budget.calls", turns: 3 });
  });

  test.each([{ turns: 0 }, { timeMs: Number.NaN }, { parallel: 1.5 }, { costMicroUsd: -1 }])(
    "can't be %j",
    async (limits) => {
      await using at = await openTestHost({ tools: [echo], provider: forever });
      await expect(at.start("go on", { limits })).rejects.toMatchObject({ code: "usage.bad_option" });
    },
  );

  test("of a grant that allows no call at a time let none through", async () => {
    await using at = await openTestHost({ tools: [echo], provider: forever, grant: { limits: { parallel: 0 } } });
    const outcome = await at.start("go on", { limits: { turns: 1 } });
    expect(outcome).toMatchObject({ status: "limit", toolCalls: 1 });
    expect((await at.host.load(outcome.runId)).run.refusal).toBe("budget.parallel");
  });

  test("bound how deep its calls may nest", async () => {
    const nesting = testTool("nesting", {
      run: async (_, { call }) => {
        const inner = await call("echo", {}).catch((thrown: unknown) => thrown);
        return { type: "done", value: inner instanceof CapstanError ? inner.code : "called" };
      },
    });
    const provider = scripted([{ calls: [["nesting", {}]] }, { text: "done" }]);
    await using at = await openTestHost({ tools: [nesting, echo], provider });
    for (const depth of [0, 1]) await at.start("nest", { limits: { depth } });
    const values = provider.requests
      .map(({ messages }) => messages.at(-1))
      .flatMap((last) => (last?.role === "tool" ? [last.outcome.value] : []));
    expect(values).toEqual(["budget.depth", "called"]);
  });

  test("end it when its grant is revoked", async () => {
    const revoking = testTool("echo", {
      run: async (_, { grant }) => {
        await at.permissions.revoke(grant.ancestors[0]?.id ?? "", "test");
        return { type: "done" };
      },
    });
    await using at = await openTestHost({ tools: [revoking], provider: forever });
    expect(await at.start("go on")).toMatchObject({ status: "failed", code: "token.revoked", turns: 1 });
  });
});

describe("the cost of a run", () => {
  const priced: Partial<HostConfig> = { prices: { scripted: { input: 2, output: 10 } } };
  const used = { ...free, inputUncached: 100, output: 30 };
  const metered = scripted([], {
    metered: true,
    async *stream({ messages }: ModelRequest) {
      const turn = messages.filter(({ role }) => role === "assistant").length;
      const events = toEvents(turn < 4 ? { calls: [["echo", {}]] } : { text: "done" });
      for (const event of events) yield event.type === "message.ended" ? { ...event, usage: used } : event;
    },
  });

  test("is the dot product of its tokens and their prices, and settled on the grant and its ancestors", async () => {
    await using at = await openTestHost({ tools: [echo], provider: metered, config: priced });
    const outcome = await at.start("spend");
    expect(outcome).toMatchObject({
      status: "done",
      costMicroUsd: 5 * 500,
      usage: { inputUncached: 500, output: 150 },
    });
    const amounts = (await at.store.used([at.grant.id])).get(at.grant.id);
    expect(amounts).toMatchObject({ calls: 4, tokens: 650, costMicroUsd: 2_500 });
  });

  test("ends it before the call that could pass the limit", async () => {
    const config = { ...priced, settings: { maxOutputTokens: 100 } };
    await using at = await openTestHost({ tools: [echo], provider: metered, config });
    const outcome = await at.start("spend", { limits: { costMicroUsd: 3_000 } });
    expect(outcome).toMatchObject({ status: "limit", code: "budget.cost" });
    expect(outcome.costMicroUsd).toBeGreaterThan(0);
    expect(outcome.costMicroUsd).toBeLessThanOrEqual(3_000);
  });

  test("ends it before a call whose tokens the grant does not hold", async () => {
    await using at = await openTestHost({ tools: [echo], provider: metered, grant: { limits: { tokens: 0 } } });
    expect(await at.start("spend")).toMatchObject({ status: "limit", code: "budget.tokens", turns: 0 });
  });

  test.each([
    ["stays charged when nobody knows what a failed call used", "provider.bad_answer", true],
    ["is given back when a call was turned away", "provider.sign_in", false],
  ] as const)("%s", async (_, code, isCharged) => {
    const provider = { ...failing(new CapstanError(code, "It failed.")), metered: true };
    await using at = await openTestHost({ tools: [echo], provider, config: priced });
    expect(await at.start("spend")).toMatchObject({ status: "failed", code });
    const amounts = (await at.store.used([at.grant.id])).get(at.grant.id);
    expect((amounts?.tokens ?? 0) > 0).toBe(isCharged);
    expect((amounts?.costMicroUsd ?? 0) > 0).toBe(isCharged);
  });

  test("costs nothing where nothing is behind the name", async () => {
    const provider = scripted([{ text: "done" }]);
    await using at = await openTestHost({ tools: [echo], provider, grant: { limits: { tokens: 0, costMicroUsd: 0 } } });
    expect(await at.start("try")).toMatchObject({ status: "done", costMicroUsd: 0 });
  });
});

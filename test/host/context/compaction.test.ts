import { describe, expect, test } from "vitest";
import { toCapstanError } from "../../../src/core/error.ts";
import type { Event } from "../../../src/core/event.ts";
import { newId } from "../../../src/core/id.ts";
import { localScope } from "../../../src/core/scope.ts";
import { toArray } from "../../../src/core/sequence.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { toRoom } from "../../../src/host/context/plan.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import { testTool } from "../../support/door.ts";
import { free, openTestHost, toEvents } from "../scripted.ts";
import { dyingAfter } from "../dying.ts";
import { isForSummary, stepTool, tokensOf, worker, type WorkerOptions } from "./worker.ts";

const model = "scripted";
const toConfig = (windowTokens: number) => ({ models: { [model]: { windowTokens } }, resultTokens: 500 });
const limits = { turns: 1_000 };
const contextFull = { type: "message.ended", parts: [], stop: "context_full", usage: free } as const;
const compactions = (events: readonly Event[]) => events.filter((event) => event.type === "context.compacted");

async function run(options: WorkerOptions & { readonly windowTokens: number; readonly bytes: number }) {
  const { provider, requests } = worker(options);
  const { tool, made } = stepTool(options.bytes);
  await using at = await openTestHost({ tools: [tool], provider, config: toConfig(options.windowTokens) });
  const outcome = await at.start("Do all steps, one after another.", { limits });
  const { run: left, events } = await at.host.load(outcome.runId);
  // Decided anew, the log comes out the same.
  expect(await at.host.replay(outcome.runId)).toMatchObject({ ok: true, events: events.length });
  const used = (await at.store.used([at.grant.id])).get(at.grant.id);
  return { outcome, requests, made, left, events, used, faults: at.faults };
}

describe("a run whose context is larger than the window of its model", () => {
  test.each([
    { name: "where the provider counts", counts: true as const },
    { name: "where nobody counts", counts: undefined },
  ])("does 200 steps, each once, and never asks for more than the model takes in, $name", async ({ counts }) => {
    const steps = 200;
    const { outcome, requests, made, left, events, faults } = await run({
      steps,
      windowTokens: 4_000,
      bytes: 600,
      ...(counts === undefined ? {} : { counts }),
    });
    expect(outcome).toMatchObject({ status: "done", answer: "All 200 steps are done.", toolCalls: steps });
    expect([...made.values()].every((times) => times === 1)).toBe(true);
    expect(compactions(events).length).toBeGreaterThan(5);
    expect(Math.max(...requests.map(tokensOf))).toBeLessThanOrEqual(toRoom(left)?.budget ?? 0);
    const [task] = toArray(left.messages);
    expect(task).toMatchObject({ role: "user", content: [{ text: "Do all steps, one after another." }] });
    const summaries = requests.filter(isForSummary);
    expect(summaries.every(({ tools, windowTokens }) => tools.length === 0 && windowTokens === 4_000)).toBe(true);
    expect(faults).toEqual([]);
  });

  test("goes on by extraction where the model writes no summary, and charges both", async () => {
    const { outcome, events, left } = await run({ steps: 40, windowTokens: 4_000, bytes: 600, summary: () => " " });
    expect(outcome).toMatchObject({ status: "done", answer: "All 40 steps are done." });
    const failed = events.filter((event) => event.type === "model.failed");
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.every(({ code }) => code === "provider.bad_answer")).toBe(true);
    expect(compactions(events).every(({ by }) => by === "extraction")).toBe(true);
    expect(left.failure).toBeNull();
    expect(left.context.summary).toBeNull();
  });

  test("takes out of a summary what the rules for output forbid, and says so", async () => {
    const { provider, requests } = worker({ steps: 20, summary: () => "For Project Alpha: step 9 done." });
    const { tool } = stepTool(600);
    await using at = await openTestHost({ tools: [tool], provider, config: toConfig(4_000) });
    const rules = [{ name: "no_project", on: ["output" as const], words: ["project alpha"], action: "block" as const }];
    const { runId } = await at.start("Do all steps.", { limits: { turns: 12 }, guardrails: { rules } });
    const events = await at.events(runId);
    expect(requests.some(isForSummary)).toBe(true);
    expect(JSON.stringify([events.slice(1), requests])).not.toContain("Project Alpha");
    const place = events.findIndex(({ type }) => type === "context.compacted");
    expect(events[place]).toMatchObject({ by: "model", summary: "For [redacted]: step 9 done." });
    expect(events[place + 1]).toMatchObject({ type: "guardrail.hit", rule: "no_project", action: "redacted" });
    expect(await at.host.replay(runId)).toMatchObject({ ok: true });
  });

  test("charges a summary as it does an answer, and shows its cost", async () => {
    const { provider } = worker({ steps: 20, counts: true });
    const { tool } = stepTool(600);
    const price = { input: 1, output: 10 };
    const config = { ...toConfig(4_000), prices: { [model]: price } };
    await using at = await openTestHost({ tools: [tool], provider, config });
    const outcome = await at.start("Do all steps.", { limits });
    const { events } = await at.host.load(outcome.runId);
    const costs = events.flatMap((event) => ("costMicroUsd" in event ? [event.costMicroUsd ?? 0] : []));
    const summaries = compactions(events).filter(({ by }) => by === "model");
    expect(summaries.length).toBeGreaterThan(0);
    expect(summaries.every(({ costMicroUsd = 0 }) => costMicroUsd > 0)).toBe(true);
    const sum = costs.reduce((all, cost) => all + cost, 0);
    expect(outcome.costMicroUsd).toBe(sum);
    const inputs = events.flatMap((event) => ("usage" in event ? [event.usage?.inputUncached ?? 0] : []));
    expect(outcome.usage.inputUncached).toBe(inputs.reduce((all, tokens) => all + tokens, 0));
    const used = (await at.store.used([at.grant.id])).get(at.grant.id);
    expect(used?.costMicroUsd).toBe(sum);
  });

  test("keeps the beginning of the context as it is from turn to turn, until it is summed up", async () => {
    const { requests } = await run({ steps: 60, windowTokens: 4_000, bytes: 600 });
    const turns = requests
      .filter((request) => !isForSummary(request))
      .map(({ messages }) => JSON.stringify(messages).slice(0, -1));
    const changed = turns.filter((text, place) => place > 0 && !text.startsWith(turns[place - 1] ?? ""));
    const summaries = requests.filter(isForSummary);
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.length).toBeLessThanOrEqual(summaries.length);
  });

  test("says that the context is full where the task alone is too much", async () => {
    const { provider, requests } = worker({ steps: 1 });
    const { tool, made } = stepTool(10);
    await using at = await openTestHost({ tools: [tool], provider, config: toConfig(1_000) });
    const outcome = await at.start(`Do this: ${"all of it, ".repeat(2_000)}`);
    expect(outcome).toMatchObject({ status: "limit", code: "run.cut_off" });
    expect(outcome.message).toMatch(/context has \d+ tokens, and with its answer the model takes 1000/);
    expect(requests).toEqual([]);
    expect(made.size).toBe(0);
  });

  test("counts the tools before they are first told, and those that a conversation gets later", async () => {
    const { provider, requests } = worker({ steps: 0, counts: true });
    const tools = Array.from({ length: 40 }, (_, place) =>
      testTool(`tool_${place}`, { description: "word ".repeat(400) }),
    );
    await using at = await openTestHost({ tools, provider, config: toConfig(4_000) });
    const full = { status: "limit", code: "run.cut_off", turns: 0 };
    expect(await at.start("Do it.")).toMatchObject(full);
    const few = { conversation: "trip", guardrails: { tools: ["tool_1"] } };
    expect(await at.start("Do it.", few)).toMatchObject({ status: "done" });
    const more = await at.start("And now?", { conversation: "trip" });
    expect(more).toMatchObject(full);
    expect(requests).toHaveLength(1);
    expect(await at.host.replay(more.runId)).toMatchObject({ ok: true });
  });

  test("asks once more with a smaller context where the model says that it is full, whatever it takes in", async () => {
    const { provider: inner, requests } = worker({ steps: 12 });
    let refused = 0;
    const provider: typeof inner = {
      ...inner,
      async *stream(request, signal) {
        if (tokensOf(request) > 1_500 && !isForSummary(request)) {
          refused += 1;
          yield contextFull;
          return;
        }
        yield* inner.stream(request, signal);
      },
    };
    const { tool, made } = stepTool(600);
    await using at = await openTestHost({ tools: [tool], provider });
    const outcome = await at.start("Do all steps.", { limits });
    expect(outcome).toMatchObject({ status: "done", answer: "All 12 steps are done." });
    expect(refused).toBeGreaterThan(0);
    expect([...made.values()].every((times) => times === 1)).toBe(true);
    expect(compactions((await at.host.load(outcome.runId)).events)).toHaveLength(refused);
    expect(requests.length).toBeGreaterThan(0);
  });

  test("is summed up by the model of a route that it began with", async () => {
    const [one, two] = [worker({ steps: 30 }), worker({ steps: 30 })];
    const { tool } = stepTool(600);
    const config = HostConfig.parse({
      providers: { x: {} },
      routes: { both: { models: ["x:a", "x:b"], pick: "turn" } },
      models: { "x:a": { windowTokens: 4_000 } },
      resultTokens: 500,
    });
    await using at = await openTestHost({ tools: [tool], provider: one.provider, config });
    const host = at.open(openPolicies({ config, open: (name) => (name === "x:a" ? one : two).provider }));
    const signal = new AbortController().signal;
    const start = () => host.start({ task: "Do all steps.", model: "both", grant: at.grant, limits, signal });
    expect(await start()).toMatchObject({ status: "done" });
    expect(one.requests.filter(isForSummary).length).toBeGreaterThan(0);
    expect(two.requests).toEqual([]);
    // The next run takes its turn.
    expect(await start()).toMatchObject({ status: "done" });
    expect(two.requests.filter(isForSummary).length).toBeGreaterThan(0);
  });

  test("sums up what is old while a person is waited for, and leaves the call that waits as it is", async () => {
    const { provider: inner } = worker({ steps: 3 });
    const provider: typeof inner = {
      ...inner,
      async *stream(request, signal) {
        const isLast = !isForSummary(request) && JSON.stringify(request.messages).includes("step 3 done");
        const thought = { text: "A long thought. ".repeat(250), calls: [["send", { text: "it" }]] as const };
        const hasSent = request.messages.some((message) => message.role === "tool" && message.name === "send");
        yield* isLast && !hasSent ? toEvents(thought) : inner.stream(request, signal);
      },
    };
    const { tool } = stepTool(600);
    const sent: string[] = [];
    const send = testTool("send", { run: async ({ text }) => ({ type: "done", value: String(sent.push(text)) }) });
    await using at = await openTestHost({ tools: [tool, send], provider, config: toConfig(2_200) });
    const { rights } = at.grant;
    const marked = rights.tools.map((right) => ({ ...right, ask: right.name === "send" }));
    const grant = { ...at.grant, rights: { ...rights, tools: marked } };
    const waiting = await at.start("Do all steps, then send it.", { limits, grant });
    expect(waiting).toMatchObject({ status: "suspended", pending: [{ name: "send" }] });
    const types = (await at.events(waiting.runId)).map(({ type }) => type);
    const place = types.indexOf("context.compacted");
    expect(place).toBeGreaterThan(types.lastIndexOf("model.answered"));
    expect(place).toBeLessThan(types.indexOf("run.suspended"));
    await at.host.approve(waiting.runId, waiting.pending[0]?.callId ?? "", at.grant);
    expect(await at.resume(waiting.runId, { grant })).toMatchObject({
      status: "done",
      answer: "All 3 steps are done.",
    });
    expect(sent).toEqual(["it"]);
  });

  test("ends where the model says again that it is full after the context was made smaller", async () => {
    const { provider: inner } = worker({ steps: 12 });
    const provider: typeof inner = {
      ...inner,
      async *stream(request, signal) {
        const isFull = !isForSummary(request) && /step [4-9] done/.test(JSON.stringify(request.messages));
        yield* isFull ? [contextFull] : inner.stream(request, signal);
      },
    };
    const { tool } = stepTool(600);
    await using at = await openTestHost({ tools: [tool], provider });
    const outcome = await at.start("Do all steps.", { limits });
    expect(outcome).toMatchObject({ status: "limit", code: "run.cut_off", toolCalls: 4 });
    expect(compactions((await at.host.load(outcome.runId)).events)).toHaveLength(1);
  });
});

describe("a run whose process dies around a summary", () => {
  // The ids of calls, which stand in the context, follow from the run's.
  const runId = newId("run");

  /** Runs the worker in a process that dies after so many commits, and then to the end. */
  async function live(commits: number) {
    const { provider } = worker({ steps: 7 });
    const { tool } = stepTool(600, "read");
    const config = { ...toConfig(1_200), prices: { [model]: { input: 1, output: 10 } } };
    await using at = await openTestHost({ tools: [tool], provider, config });
    const signal = new AbortController().signal;
    const dying = dyingAfter(at.store, commits);
    const started = at.open({ store: dying.store });
    const start = started.start({ task: "Do all steps.", runId, model, grant: at.grant, signal, limits });
    const died = await start.then(
      () => false,
      (thrown: unknown) => toCapstanError(thrown).code === "store.unavailable",
    );
    const isBegun = (await at.store.runs(localScope, 1)).length > 0;
    if (died && isBegun) await at.resume(runId);
    const { run: left, events } = await at.host.load(isBegun ? runId : (await at.start("none")).runId);
    return { died, isBegun, left, events, made: dying.made() };
  }

  test("ends as it would have, with the same summaries, wherever it died", async () => {
    const smooth = await live(Infinity);
    expect(smooth.left.end).toMatchObject({ status: "done", answer: "All 7 steps are done." });
    const summaries = compactions(smooth.events);
    expect(summaries.length).toBeGreaterThan(1);
    let resumed = 0;
    for (let commits = 1; commits < smooth.made; commits += 1) {
      const { died, isBegun, left, events } = await live(commits);
      if (!isBegun || !died) continue;
      resumed += 1;
      expect(left.end).toEqual(smooth.left.end);
      expect(left.messagesHash).toBe(smooth.left.messagesHash);
      expect(left.taint).toEqual(smooth.left.taint);
      expect(left.costMicroUsd).toBe(smooth.left.costMicroUsd);
      expect(compactions(events).map(({ summary }) => summary)).toEqual(summaries.map(({ summary }) => summary));
      // What was begun is taken up, and not begun once more.
      const types = events.map(({ type }) => type).filter((type) => type !== "run.resumed");
      expect(types).toEqual(smooth.events.map(({ type }) => type));
    }
    // Before and after each of: the request of a summary, and its end.
    expect(resumed).toBeGreaterThan(4 * summaries.length);
  });
});

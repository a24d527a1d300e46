import { setTimeout as wait } from "node:timers/promises";
import { SpanStatusCode, context, trace } from "@opentelemetry/api";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/core/clock.ts";
import { CapstanError } from "../../../src/core/error.ts";
import { localPrincipal, localScope } from "../../../src/core/scope.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import { traceLog } from "../../../src/host/telemetry/trace.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { doneOf, openAgent } from "../agent.ts";
import type { Turn } from "../scripted.ts";
import { failing, openTestHost, scripted, toEvents } from "../scripted.ts";
import { observe, toPlain } from "./recorded.ts";

const usage = { inputUncached: 10, cacheRead: 90, cacheWrite5m: 0, cacheWrite1h: 0, output: 7, reasoning: 3 };

/** A model that counts tokens and tells what happened on its way to each answer. */
function counting(turns: readonly Turn[]) {
  return scripted([], {
    metered: true,
    async *stream({ messages }) {
      const turn = messages.filter(({ role }) => role === "assistant").length;
      if (turn === 0) yield { type: "notice", notice: { type: "cache_miss", model: "openai:m" } };
      else yield { type: "notice", notice: { type: "cache_hit", model: "openai:m", ageMs: 5 } };
      yield { type: "notice", notice: { type: "rate_limit_acquired", model: "openai:m", waitedMs: 3 } };
      for (const event of toEvents(turns[turn] ?? { text: "nothing left to say" })) {
        yield event.type === "message.ended" ? { ...event, usage } : event;
      }
    },
  });
}

const turns: readonly Turn[] = [{ calls: [["look", { text: "swordfish" }]] }, { text: "The end is near." }];
const zero = { prices: { "openai:m": { input: 1, output: 1 } } };

let observed: ReturnType<typeof observe>;
beforeEach(() => (observed = observe()));
afterEach(() => observed[Symbol.asyncDispose]());

const plain = () => observed.spans().map((span) => toPlain(span, observed.spans()));

describe("the trace of a run", () => {
  test("has a span for the run, each model call and each tool call, in the conventions' names, and no word of what was said", async () => {
    await using at = await openTestHost({ tools: [testTool("look")], provider: counting(turns), config: zero });
    const { runId } = await at.start("find the swordfish", { model: "openai:m", settings: { temperature: 0.5 } });
    const spans = plain();
    expect(spans.map(({ name, parent }) => [name, parent])).toEqual([
      ["chat m", "invoke_agent"],
      ["execute_tool look", "invoke_agent"],
      ["chat m", "invoke_agent"],
      ["invoke_agent", null],
    ]);
    const [chat, tool, , run] = spans;
    expect(chat?.attributes).toMatchObject({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "m",
      "gen_ai.response.model": "m",
      "gen_ai.request.temperature": 0.5,
      "gen_ai.response.finish_reasons": ["tool"],
      "gen_ai.usage.input_tokens": 100,
      "gen_ai.usage.cache_read.input_tokens": 90,
      "gen_ai.usage.output_tokens": 10,
      "gen_ai.usage.reasoning.output_tokens": 3,
      "gen_ai.conversation.id": runId,
      "capstan.run.id": runId,
    });
    expect(tool?.attributes).toMatchObject({ "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look" });
    expect(run?.attributes).toMatchObject({ "gen_ai.operation.name": "invoke_agent", "capstan.run.status": "done" });
    expect(spans.map(({ events }) => events.map(({ name }) => name))).toEqual([
      ["provider_call", "cache_miss", "rate_limit_acquired"],
      ["tool_execution"],
      ["provider_call", "cache_hit", "rate_limit_acquired"],
      ["orchestrate_start", "orchestrate_complete"],
    ]);
    expect(chat?.events.at(-1)?.attributes).toEqual({ "capstan.model": "openai:m", "capstan.waitedMs": 3 });
    expect(JSON.stringify(spans)).not.toMatch(/swordfish|end is near/);
  });

  test("tells of caches and rates that the config asks for", async () => {
    const config = HostConfig.parse({ cache: { store: "memory" }, pacing: { openai: { requestsPerMinute: 60 } } });
    const provider = scripted([{ text: "Once." }], { name: "openai", metered: true });
    await using home = await tempFolder();
    await using at = await openTestHost({ tools: [], provider, config, home: home.path });
    const owner = { home: home.path, scope: localScope, principal: localPrincipal, clock: systemClock };
    await using policies = openPolicies({ config, open: () => provider, owner });
    const host = at.open(policies);
    const request = { task: "say it", model: "openai:m", grant: at.grant, signal: new AbortController().signal };
    await host.start(request);
    await host.start(request);
    const chats = plain().filter(({ name }) => name === "chat m");
    expect(chats.map(({ events }) => events.map(({ name }) => name))).toEqual([
      ["provider_call", "cache_miss", "rate_limit_acquired"],
      ["provider_call", "cache_hit"],
    ]);
  });

  test("holds no words by which a model calls what is no tool", async () => {
    const provider = scripted([{ calls: [["tell Eve the swordfish", {}]] }, { text: "So be it." }]);
    await using at = await openTestHost({ tools: [testTool("look")], provider });
    await at.start("find it");
    expect(plain().map(({ name }) => name)).toContain("execute_tool unknown");
    expect(JSON.stringify(plain())).not.toContain("swordfish");
  });

  test("holds what was said where the config wants it", async () => {
    const config = { ...zero, telemetry: { content: true, logs: "off" as const } };
    await using at = await openTestHost({ tools: [testTool("look")], provider: counting(turns), config });
    await at.start("find it", { model: "openai:m" });
    const said = plain().map(({ attributes }) => attributes);
    expect(said[1]).toMatchObject({
      "gen_ai.tool.call.arguments": '{"text":"swordfish"}',
      "gen_ai.tool.call.result": '{"text":"swordfish"}',
    });
    expect(said[3]).toMatchObject({
      "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"find it"}]}]',
      "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"The end is near."}]}]',
    });
  });

  test("is the same when it is made of the stored log, of a run that waited and was taken up too", async () => {
    const tools = [testTool("look")];
    await using at = await openTestHost({ tools, provider: counting(turns), config: zero });
    const right = at.grant.rights.tools.map((one) => ({ ...one, ask: true }));
    const grant = { ...at.grant, rights: { ...at.grant.rights, tools: right } };
    const { runId, pending } = await at.start("look", { model: "openai:m", grant });
    await at.host.approve(runId, pending[0]?.callId ?? "", at.grant);
    expect(await at.resume(runId, { grant })).toMatchObject({ status: "done" });
    const live = plain();
    expect(live.map(({ name, attributes }) => [name, attributes["capstan.run.status"] ?? null])).toEqual([
      ["chat m", null],
      ["execute_tool look", null],
      ["invoke_agent", "suspended"],
      ["execute_tool look", null],
      ["chat m", null],
      ["invoke_agent", "done"],
    ]);
    observed.reset();
    await traceLog(at.host.events(runId), { content: false });
    expect(plain()).toEqual(live);
  });

  test("ends what a killed process left open when the run is taken up, and calls it interrupted", async () => {
    await using at = await openTestHost({ tools: [testTool("look")], provider: counting(turns), config: zero });
    const { runId } = await at.start("look", { model: "openai:m" });
    const events = await at.events(runId);
    const killed = events.findIndex(({ type }) => type === "tool.requested") + 1;
    const [first] = events;
    if (first === undefined) throw new Error("The log is empty.");
    const { scope } = first;
    const resumed = {
      v: 1,
      scope,
      runId,
      seq: killed + 1,
      at: first.at + 5_000,
      type: "run.resumed",
      grantId: "g",
    } as const;
    observed.reset();
    await traceLog([...events.slice(0, killed), resumed, ...events.slice(killed)], { content: false });
    expect(plain().map(({ name, attributes }) => [name, attributes["error.type"] ?? null])).toEqual([
      ["chat m", null],
      ["execute_tool look", "interrupted"],
      ["invoke_agent", "interrupted"],
      ["execute_tool look", null],
      ["chat m", null],
      ["invoke_agent", null],
    ]);
  });

  test("of a log that goes on from another one has a span for each run", async () => {
    await using at = await openTestHost({
      tools: [],
      provider: counting([{ text: "one" }, { text: "two" }]),
      config: zero,
    });
    const first = await at.start("first", { model: "openai:m" });
    const second = await at.start("second", { model: "openai:m", conversation: first.runId });
    expect(second.answer).toBe("two");
    observed.reset();
    await traceLog(at.host.events(second.runId), { content: false });
    const runs = plain().filter(({ name }) => name === "invoke_agent");
    expect(runs.map(({ attributes }) => [attributes["capstan.run.id"], attributes["capstan.previous.run.id"]])).toEqual(
      [
        [first.runId, undefined],
        [second.runId, first.runId],
      ],
    );
    expect(runs.map(({ attributes }) => attributes["gen_ai.conversation.id"])).toEqual([first.runId, first.runId]);
  });

  test("marks what failed: the call, and the run that a limit ended", async () => {
    await using at = await openTestHost({ tools: [], provider: counting([{ calls: [["gone", {}]] }]), config: zero });
    await at.start("look", { model: "openai:m", limits: { turns: 1 } });
    const [, tool, run] = plain();
    expect(tool?.attributes["error.type"]).toBe("tool.unknown");
    expect(tool?.status).toEqual({ code: SpanStatusCode.ERROR, message: "tool.unknown" });
    expect(run?.attributes).toMatchObject({ "error.type": "run.turns", "capstan.run.status": "limit" });
  });

  test("says and measures what a failed call of a model used, where its endpoint said so", async () => {
    const unusable = new CapstanError("provider.bad_answer", "It is no answer.", { details: { usage } });
    await using at = await openTestHost({ tools: [], provider: failing(unusable), config: zero });
    await at.start("look", { model: "openai:m" });
    const [chat] = plain();
    expect(chat?.attributes).toMatchObject({
      "error.type": "provider.bad_answer",
      "gen_ai.usage.input_tokens": 100,
      "gen_ai.usage.output_tokens": 10,
      "capstan.cost.micro_usd": 110,
    });
    const [tokens] = await observed.metrics();
    expect(tokens?.dataPoints.map(({ value }) => value)).toMatchObject([{ sum: 100 }, { sum: 10 }]);
  });

  test("tells that a tool which did not end in its time was called again", async () => {
    let calls = 0;
    const late = testTool("look", {
      timeoutMs: () => 30,
      async run(_, { signal }) {
        calls += 1;
        if (calls === 1) await wait(60_000, undefined, { signal });
        return { type: "done", value: {} };
      },
    });
    await using at = await openTestHost({ tools: [late], provider: counting(turns), config: zero });
    await at.start("look", { model: "openai:m" });
    const tool = plain().find(({ name }) => name === "execute_tool look");
    expect(tool?.events.map(({ name, attributes }) => [name, attributes?.["capstan.attempt"] ?? null])).toEqual([
      ["tool_execution", null],
      ["retry", 1],
    ]);
    expect(tool?.status.code).toBe(SpanStatusCode.UNSET);
  });

  test("belongs to the span that is active where the run is started, and a run within it to the call that started it", async () => {
    const models = {
      "scripted:outer": [{ calls: [["run_agent", { task: "do it", model: "scripted:inner" }]] }, { text: "both done" }],
      "scripted:inner": [{ text: "done" }],
    } as const;
    await using at = await openAgent([], models);
    await trace.getTracer("test").startActiveSpan("request", async (span) => {
      expect(trace.getSpan(context.active())).toBe(span);
      doneOf((await at.call("run_agent", { task: "go", model: "scripted:outer" })).outcome);
      span.end();
    });
    expect(plain().map(({ name, parent }) => [name, parent])).toEqual([
      ["chat outer", "invoke_agent"],
      ["chat inner", "invoke_agent"],
      ["invoke_agent", "execute_tool run_agent"],
      ["execute_tool run_agent", "invoke_agent"],
      ["chat outer", "invoke_agent"],
      ["invoke_agent", "request"],
      ["request", null],
    ]);
    expect(new Set(observed.spans().map((span) => span.spanContext().traceId)).size).toBe(1);
  });
});

describe("the measurements of a run", () => {
  test("are the tokens and the time of its model calls", async () => {
    await using at = await openTestHost({ tools: [testTool("look")], provider: counting(turns), config: zero });
    await at.start("look", { model: "openai:m" });
    const metrics = await observed.metrics();
    expect(metrics[0]?.dataPoints[0]?.attributes).toEqual({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "openai",
      "gen_ai.request.model": "m",
      "gen_ai.response.model": "m",
      "gen_ai.token.type": "input",
    });
    expect(metrics.map(({ descriptor: { name, unit } }) => [name, unit])).toEqual([
      ["gen_ai.client.token.usage", "{token}"],
      ["gen_ai.client.operation.duration", "s"],
    ]);
    const points = metrics.map(({ dataPoints }) =>
      dataPoints.map(({ attributes, value }) => [
        attributes["gen_ai.token.type"] ?? null,
        attributes["gen_ai.request.model"],
        typeof value === "object" && "count" in value ? value.count : null,
        typeof value === "object" && "sum" in value ? value.sum : null,
      ]),
    );
    expect(points).toEqual([
      [
        ["input", "m", 2, 200],
        ["output", "m", 2, 20],
      ],
      [[null, "m", 2, expect.any(Number)]],
    ]);
  });
});

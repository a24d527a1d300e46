import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import { HostConfig } from "../../../src/host/config.ts";
import type { Provider } from "../../../src/host/provider.ts";
import { openLogger } from "../../../src/host/telemetry/logger.ts";
import { testTool } from "../../support/door.ts";
import { doneOf, openAgent } from "../agent.ts";
import type { Turn } from "../scripted.ts";
import { failing, openTestHost, scripted, toEvents } from "../scripted.ts";
import { observe } from "./recorded.ts";
import { recording } from "./records.ts";

const usage = { inputUncached: 10, cacheRead: 90, cacheWrite5m: 0, cacheWrite1h: 0, output: 7, reasoning: 3 };
const key = `sk-proj-${"a".repeat(40)}`;

/** Looks once, by `args`, and answers; it counts tokens and tells what happened on its way. */
const looking = (args: unknown = {}, text = "Found.", name = "look") =>
  scripted([], {
    metered: true,
    async *stream({ messages }) {
      const isFirst = !messages.some(({ role }) => role === "assistant");
      yield { type: "notice", notice: { type: "cache_miss", model: "openai:m" } };
      if (isFirst) yield { type: "notice", notice: { type: "retry", model: "openai:m", ...failedOnce } };
      for (const event of toEvents(isFirst ? { text, calls: [[name, args]] } : { text })) {
        yield event.type === "message.ended" ? { ...event, usage } : event;
      }
    },
  });
const failedOnce = { attempt: 1, delayMs: 5, code: "provider.overloaded", message: "swordfish is out" };
const { signal } = new AbortController();
const prices = { "openai:m": { input: 1, output: 1 } };

describe("the records of a run", () => {
  test("tell when it began and ended, each call of a model and of a tool, and what was on the way", async () => {
    const { logger, ...log } = await recording();
    await using at = await openTestHost({ tools: [testTool("look")], provider: looking(), config: { prices }, logger });
    const { runId } = await at.start("find it", { model: "openai:m" });
    const records = await log.records();
    expect(records.map(({ level, name, status = "" }) => `${level} ${name} ${String(status)}`.trim())).toEqual([
      "info orchestrate_start",
      "debug provider_call started",
      "debug cache_miss",
      "warn retry",
      "info provider_call done",
      "debug tool_execution started",
      "info tool_execution done",
      "debug provider_call started",
      "debug cache_miss",
      "info provider_call done",
      "info orchestrate_complete done",
    ]);
    expect(records.every((record) => record["runId"] === runId && record["conversation"] === runId)).toBe(true);
    expect(records[3]).toMatchObject({ model: "openai:m", attempt: 1, delayMs: 5, code: "provider.overloaded" });
    expect(records[4]).toMatchObject({
      turn: 1,
      model: "openai:m",
      inputTokens: 100,
      cacheReadTokens: 90,
      outputTokens: 10,
      costMicroUsd: expect.any(Number),
      ms: expect.any(Number),
    });
    expect(records[6]).toMatchObject({ tool: "look", callId: expect.any(String), ms: expect.any(Number) });
    expect(records[10]).toMatchObject({ model: "openai:m", ms: expect.any(Number) });
  });

  test("say with which code a call, a model and a run failed", async () => {
    const { logger, ...log } = await recording("warn");
    const run = async () => ({ type: "done" as const, isError: true, code: "tool.failed" as const });
    const tools = [testTool("look", { run })];
    await using at = await openTestHost({ tools, provider: looking(), config: { prices }, logger });
    await at.start("find it", { model: "openai:m", limits: { turns: 1 } });
    const broken = failing(new CapstanError("provider.bad_request", "The endpoint refused swordfish."));
    const other = at.open({ openProvider: () => broken });
    await other.start({ task: "find it", model: "openai:m", grant: at.grant, signal });
    expect((await log.records()).map(({ level, name, code, status }) => [level, name, code, status])).toEqual([
      ["warn", "retry", "provider.overloaded", undefined],
      ["warn", "tool_execution", "tool.failed", "failed"],
      ["error", "orchestrate_complete", "run.turns", "limit"],
      ["warn", "provider_call", "provider.bad_request", "failed"],
      ["error", "orchestrate_complete", "provider.bad_request", "failed"],
    ]);
  });

  test("hold no word of anybody and no key, also where spans hold what was said", async () => {
    const { logger, ...log } = await recording();
    const secret = `swordfish ${key}`;
    const run = async () => ({ type: "done" as const, value: { secret }, isError: true, code: "tool.failed" as const });
    const rules = [{ name: "no_fish", on: ["output"], words: ["fishy"], action: "redact" }];
    const config = HostConfig.parse({ prices, telemetry: { content: true }, guardrails: { rules } });
    const tools = [testTool("look", { run })];
    const text = `${secret} is fishy`;
    await using at = await openTestHost({ tools, provider: looking({ text: secret }, text), config, logger });
    const more = { context: secret, model: "openai:m" };
    await at.start(secret, { ...more, conversation: key });
    // A model may call by any words, and with arguments that are no JSON.
    const calling = (provider: Provider) =>
      at.open({ openProvider: () => provider }).start({ task: secret, ...more, grant: at.grant, signal });
    await calling(looking({}, text, "tell the swordfish"));
    await calling(looking("{swordfish", text, key));
    const written = await log.text();
    expect(written).not.toMatch(/swordfish|fishy/);
    expect(written).not.toContain(key);
    const records = await log.records();
    expect(records.filter(({ rule }) => rule === "no_fish")[0]).toMatchObject({
      name: "guardrail_hit",
      place: "output",
    });
    expect(records.filter(({ name, status }) => name === "tool_execution" && status === "failed")).toMatchObject([
      { tool: "look", code: "tool.failed" },
      { tool: "unknown", code: "tool.unknown" },
      { code: "tool.bad_arguments" },
    ]);
  });

  test("name the agent, and the run that started another", async () => {
    const { logger, ...log } = await recording("info");
    const helper = { description: "helps", instructions: "Help.", model: "inner" };
    const outer: readonly Turn[] = [
      { calls: [["run_agent", { task: "do it", agent: "helper" }]] },
      { text: "both done" },
    ];
    const models = { outer, inner: [{ text: "done" }] };
    await using at = await openAgent([], models, { host: { agents: { helper } }, logger });
    doneOf((await at.call("run_agent", { task: "go", model: "outer" })).outcome);
    const records = await log.records();
    const [first, second] = records.filter(({ name }) => name === "orchestrate_start");
    expect(second).toMatchObject({ agent: "helper", model: "inner", parentRunId: first?.["runId"] });
    expect(records.map(({ name, model = "" }) => [name, model])).toEqual([
      ["orchestrate_start", "outer"],
      ["provider_call", "outer"],
      ["orchestrate_start", "inner"],
      ["provider_call", "inner"],
      ["orchestrate_complete", "inner"],
      ["tool_execution", ""],
      ["provider_call", "outer"],
      ["orchestrate_complete", "outer"],
    ]);
  });

  test("begin anew where a run is taken up that waited", async () => {
    const { logger, ...log } = await recording("info");
    await using at = await openTestHost({ tools: [testTool("look")], provider: looking(), config: { prices }, logger });
    const tools = at.grant.rights.tools.map((one) => ({ ...one, ask: true }));
    const grant = { ...at.grant, rights: { ...at.grant.rights, tools } };
    const { runId, pending } = await at.start("look", { model: "openai:m", grant });
    await at.host.approve(runId, pending[0]?.callId ?? "", at.grant);
    await at.resume(runId, { grant });
    const told = (await log.records()).filter(({ name }) => name !== "retry");
    expect(told.map(({ name, status, resumed }) => [name, status ?? resumed ?? null])).toEqual([
      ["orchestrate_start", null],
      ["provider_call", "done"],
      ["approval_requested", null],
      ["tool_execution", "waiting"],
      ["orchestrate_complete", "suspended"],
      ["orchestrate_start", true],
      ["tool_execution", "done"],
      ["provider_call", "done"],
      ["orchestrate_complete", "done"],
    ]);
  });

  test("name the spans that they belong to, where an SDK is registered", async () => {
    await using observed = observe();
    const { logger, ...log } = await recording("info");
    await using at = await openTestHost({ tools: [testTool("look")], provider: looking(), config: { prices }, logger });
    await at.start("look", { model: "openai:m" });
    const spans = observed.spans().map((span) => span.spanContext());
    const ended = (await log.records()).filter(({ status }) => status === "done");
    expect(ended.map((record) => [record["trace_id"], record["span_id"]])).toEqual(
      spans.map(({ traceId, spanId }) => [traceId, spanId]),
    );
  });
});

describe("the log", () => {
  test("is written from its level on, and by no library where it is off", async () => {
    const log = await recording("warn");
    for (const level of ["debug", "info", "warn", "error"] as const) log.logger.write(level, { name: level, at: 0 });
    expect((await log.records()).map(({ name }) => name)).toEqual(["warn", "error"]);
    expect(await openLogger("off")).toBeUndefined();
  });

  test("drops what a reader who has stopped leaves unread, and says how much that was", async () => {
    const lines: string[] = [];
    const held: (() => void)[] = [];
    let isRead = false;
    const stuck = new Writable({
      write: (chunk, _, done) => {
        lines.push(String(chunk));
        if (isRead) done();
        else held.push(done);
      },
    });
    const logger = await openLogger("info", stuck);
    const name = "x".repeat(200);
    for (let count = 0; count < 10_000; count += 1) logger?.write("info", { name, at: 0 });
    expect(stuck.writableLength).toBeLessThan(2 * 1024 * 1024);
    isRead = true;
    for (const done of held) done();
    await expect.poll(() => stuck.writableLength).toBe(0);
    const kept = lines.length;
    logger?.write("info", { name: "after", at: 0 });
    await expect.poll(() => lines.length).toBe(kept + 1);
    expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ name: "after", dropped: 10_000 - kept });
  });
});

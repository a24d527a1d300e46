import { expect, test } from "vitest";
import { explain } from "../../src/cli/explain.ts";
import { toTimeline } from "../../src/cli/timeline.ts";
import { testTool } from "../support/door.ts";
import { openTestHost, scripted, toEvents } from "../host/scripted.ts";

const usage = { inputUncached: 10, cacheRead: 90, cacheWrite5m: 0, cacheWrite1h: 0, output: 7, reasoning: 3 };

/** Asks for two searches, then answers; a first attempt at each turn fails. */
const model = scripted([], {
  metered: true,
  async *stream({ messages }) {
    const about = { model: "openai:m", code: "provider.unavailable", message: "It broke off." };
    yield { type: "notice", notice: { type: "retry", attempt: 1, delayMs: 1_000, ...about } };
    const isFirst = messages.length === 1;
    const calls = [["search", { text: "Berlin" }] as const, ["search", { text: "Bern" }] as const];
    for (const event of toEvents(isFirst ? { text: "Let me look.", calls } : { text: "It is Berlin." })) {
      yield event.type === "message.ended" ? { ...event, usage } : event;
    }
  },
});

const components = { exact: 1, name: 0.5, text: 0, spelling: 0, graph: 0, recency: 0, confidence: 1 };
const found = {
  id: "e",
  name: "Berlin",
  type: "city",
  aliases: [],
  score: 0.75,
  components,
  matched: [],
  hops: 0,
  facts: [],
};
const search = testTool("search", {
  run: async () => ({
    type: "done",
    value: { graph: "default", results: [found], weights: components, truncated: false },
    taint: ["web"],
  }),
});

test("explain() tells of each answer its context, tools, scores, approvals and cost; a turn can be picked", async () => {
  const config = { prices: { "openai:m": { input: 1, output: 10 } } };
  await using at = await openTestHost({ tools: [search], provider: model, config });
  const tools = at.grant.rights.tools.map((right) => ({ ...right, ask: true }));
  const grant = { ...at.grant, rights: { ...at.grant.rights, tools } };
  const { runId, pending } = await at.start("Which is it?", { model: "openai:m", grant });
  await at.host.approve(runId, pending[0]?.callId ?? "", at.grant);
  await at.host.deny(runId, pending[1]?.callId ?? "", "One is enough.", at.grant);
  expect(await at.resume(runId, { grant })).toMatchObject({ status: "done" });
  const { events } = await at.host.load(runId);

  const lines = (await explain(runId, events)).map((line) => line.trim());
  const cost = "100 tokens in (90 cached), 10 out, 0.000200 USD";
  for (const expected of [
    /^a run under grant_\w+, at most 20 turns, 600 s, 1 USD: Which is it\?$/,
    /^turn 1: openai:m was asked$/,
    /^context: about \d+ tokens: instructions \d+, 1 tool \d+, task \d+$/,
    /^tools: search$/,
    /^on the way: attempt 1 at openai:m failed \(provider\.unavailable\), the next came after 1000 ms$/,
    `answered after \\d\\.\\d\\d s \\(tool\\): ${cost.replaceAll(/[().]/g, "\\$&")}`,
    /^search {"text":"Berlin"} \(read, under meet_\w+, asked \(marked\), approved by a person \(approval_\w+\), \d\.\d\d s\): 1 result; untrusted: web$/,
    /^Berlin scored 0\.750: exact 1\.00, name 0\.50, confidence 1\.00$/,
    /^search {"text":"Bern"} \(read, .*refused by a person: One is enough\., .*\): failed: permission\.approval_refused/,
    /^context: .*, task \d+, answer \d+, 2 times result of search \d+$/,
    /^the run is done: 2 turns, 2 tool calls, 200 tokens in \(180 cached\), 20 out, 0\.000400 USD, /,
  ]) {
    expect(lines).toContainEqual(expect.stringMatching(expected));
  }
  const second = await explain(runId, events, 2);
  expect(second[0]).toBe("turn 2: openai:m was asked");
  expect(second.join()).not.toContain("Let me look.");
  expect(lines.filter((line) => line === "tools: search")).toHaveLength(1);
  expect(second).toContain("  tools: search");
  expect(await explain(runId, events, 7)).toEqual([]);
  // The timeline has a line for each event.
  expect(toTimeline(events)).toHaveLength(events.length);
});

import { expect, test } from "vitest";
import { testTool } from "../../support/door.ts";
import { openAgent } from "../agent.ts";
import { scripted } from "../scripted.ts";

const schema = { type: "object", properties: { gold: { type: "integer" } }, required: ["gold"] };
const agents = {
  lead: {
    description: "Leads.",
    instructions: "Lead.",
    agents: ["digger"],
    model: "lead",
    guardrails: { rules: [{ name: "quiet", on: ["output" as const], words: ["silver"], action: "block" as const }] },
  },
  digger: {
    description: "Digs.",
    instructions: "Dig.",
    tools: ["read"],
    model: "digger",
    answerSchema: { schema, tries: 1 },
    guardrails: { maxAnswerChars: 100 },
  },
};

const leads = [{ calls: [["agent_digger", { task: "Dig." }] as const] }, { text: "led" }];

/** What the digger's run comes to in the lead's, when the digger says this. */
async function dig(...texts: readonly string[]) {
  const digger = scripted(texts.map((text) => ({ text })));
  await using at = await openAgent([testTool("read")], { lead: scripted(leads), digger }, { host: { agents } });
  const { signal } = new AbortController();
  const outcome = await at.host.start({ task: "Go.", agent: "lead", grant: at.grant, signal });
  const { events } = await at.host.load(outcome.runId);
  return events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome.value] : []));
}

test("an agent's answer fits its schema, also for the agent that called it", async () => {
  expect(await dig("Much gold.", '{"gold":3}')).toMatchObject([{ status: "done", value: { gold: 3 }, turns: 2 }]);
  expect(await dig("Much gold.", "More.")).toMatchObject([{ status: "failed", code: "run.bad_answer" }]);
});

test("an agent is under its own rules and under those of the agent that called it", async () => {
  expect(await dig('{"gold":1,"also":"silver"}')).toMatchObject([{ status: "refused", code: "guardrail.output" }]);
  const long = JSON.stringify({ gold: 1, also: "x".repeat(100) });
  expect(await dig(long, long, long)).toMatchObject([{ status: "refused", code: "guardrail.output" }]);
});

test("what fills the instructions of an agent is under the rules for input, and its keys are taken out", async () => {
  const guide = {
    description: "Guides.",
    instructions: "Tell of gold in {{ place }}.",
    model: "guide",
    variables: { place: { type: "string" as const } },
  };
  const key = `ghp_${"a1B2".repeat(9)}`;
  const told = async (place: string, action: "block" | "redact") => {
    const model = scripted([{ text: "done" }]);
    await using at = await openAgent([], { guide: model }, { host: { agents: { guide } } });
    const { signal } = new AbortController();
    const guardrails = { rules: [{ name: "quiet", on: ["input" as const], words: ["gold", "atlantis"], action }] };
    const request = { task: "Go.", agent: "guide", variables: { place }, guardrails, grant: at.grant, signal };
    const { runId, code } = await at.host.start(request);
    const { run } = await at.host.load(runId);
    return { code, system: run.system ?? "", asked: model.requests.length };
  };
  expect(await told("Atlantis", "block")).toMatchObject({ code: "guardrail.input", asked: 0 });
  const redacted = await told(`Atlantis with ${key}`, "redact");
  expect(redacted).toMatchObject({ code: undefined, asked: 1 });
  expect(redacted.system).toContain("Tell of gold in [redacted] with [redacted key].");
  expect((await told("Rome", "block")).system).toContain("Tell of gold in Rome.");
});

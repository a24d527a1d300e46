import { once } from "node:events";
import { describe, expect, test } from "vitest";
import type { Guardrails } from "../../../src/core/guardrails.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { screenInputs } from "../../../src/host/guardrails/screen-inputs.ts";
import type { StartRequest } from "../../../src/host/host.ts";
import type { RunSignal } from "../../../src/host/world.ts";
import { testTool } from "../../support/door.ts";
import type { Turn } from "../scripted.ts";
import { free, openTestHost, scripted } from "../scripted.ts";

const echo = testTool("echo");
const other = testTool("other");

type Rule = NonNullable<Guardrails["rules"]>[number];
const rule = (over: Partial<Rule> = {}): Guardrails => ({
  rules: [{ name: "no_project", on: ["output"], words: ["Project Alpha"], action: "block", ...over }],
});

type Given = Partial<Pick<StartRequest, "task" | "context" | "answerSchema">>;

/** A run of one script under rules, with all that it shows. */
async function runWith(guardrails: Guardrails, turns: readonly Turn[], over: Given = {}) {
  const provider = scripted(turns);
  const signals: RunSignal[] = [];
  const at = await openTestHost({ tools: [echo, other], provider });
  const { task = "go", ...rest } = over;
  const onSignal = (signal: RunSignal): void => void signals.push(signal);
  const outcome = await at.start(task, { guardrails, onSignal, ...rest });
  const events = await at.events(outcome.runId);
  const shown = signals.flatMap((signal) => (signal.type === "text.delta" ? [signal.text] : [])).join("");
  const hits = events.flatMap((event) => (event.type === "guardrail.hit" ? [event] : []));
  const replayed = (await at.host.replay(outcome.runId)).ok;
  await at[Symbol.asyncDispose]();
  // The rules themselves stand in the first event.
  const text = JSON.stringify([events, signals]).replaceAll(JSON.stringify(guardrails), "");
  return { outcome, events, hits, shown, replayed, requests: provider.requests, all: text };
}

describe("a rule for input", () => {
  test("ends the run before any model is asked, and what it holds back is nowhere", async () => {
    const blocked = rule({ on: ["input"] });
    for (const given of [{ task: "Sum up project alpha" }, { context: "pro\u200Bject ALPHA is late" }]) {
      const { outcome, requests, all, hits } = await runWith(blocked, [{ text: "fine" }], given);
      expect(outcome).toMatchObject({ status: "refused", code: "guardrail.input", turns: 0, costMicroUsd: 0 });
      expect(requests).toEqual([]);
      expect(hits).toMatchObject([{ rule: "no_project", place: "input", action: "blocked" }]);
      expect(all).not.toMatch(/alpha/i);
    }
    const lawful = await runWith(blocked, [{ text: "fine" }], { task: "Sum up project beta" });
    expect(lawful).toMatchObject({ outcome: { status: "done", answer: "fine" }, hits: [] });
  });

  test("takes a part out, and the run goes on", async () => {
    const patterns = [String.raw`\b\d{3}-\d{2}-\d{4}\b`];
    const { outcome, requests, hits } = await runWith(
      { rules: [{ name: "ssn", on: ["input"], patterns, action: "redact" }] },
      [{ text: "fine" }],
      { task: "Who is 123-45-6789?" },
    );
    expect(outcome).toMatchObject({ status: "done" });
    expect(requests[0]?.messages[0]).toMatchObject({ content: [{ text: "Who is [redacted]?" }] });
    expect(hits).toMatchObject([{ rule: "ssn", action: "redacted" }]);
  });

  test("takes out whatever number of parts, from whatever length of text", async () => {
    const guardrails = rule({ on: ["input"], words: ["alpha"], patterns: ["c"], action: "redact" });
    const given = { context: "alpha bc ".repeat(150_000) };
    const { outcome, requests } = await runWith(guardrails, [{ text: "fine" }], given);
    expect(outcome).toMatchObject({ status: "done" });
    expect(JSON.stringify(requests[0]?.messages[1])).toMatch(/n(?:\[redacted\] b\[redacted\] ){150000}"/);
  });

  test("holds for the reason that a person gives for a refusal, which the model reads", () => {
    const reasonOf = (reason: string) => {
      const input = { type: "approval" as const, callId: "call_1", decision: "deny" as const, reason };
      return screenInputs([{ type: "input.received", input }], rule({ on: ["input"] }));
    };
    expect(reasonOf("Not for project alpha.")).toMatchObject([
      { input: { callId: "call_1", decision: "deny", reason: "Not for [redacted]." } },
      { type: "guardrail.hit", code: "guardrail.input" },
    ]);
    expect(reasonOf("Not now.")).toMatchObject([{ input: { reason: "Not now." } }]);
  });

  test("holds for messages that come later", async () => {
    const provider = scripted([{ calls: [["slow", {}]] }, { text: "done" }]);
    const slow = testTool("slow", {
      run: async (_args, { signal }) => {
        const [run] = await at.host.list(1);
        const input = { type: "message" as const, text: "now project alpha", taint: [] };
        await at.store.commit({ scope: at.grant.scope, inbox: [{ runId: run?.runId ?? "", input }] });
        // The driver reads the message meanwhile, and ends the run and this call with it.
        await once(signal, "abort");
        return { type: "done" };
      },
    });
    await using at = await openTestHost({ tools: [slow], provider });
    const outcome = await at.start("go", { guardrails: rule({ on: ["input"] }) });
    expect(outcome).toMatchObject({ status: "refused", code: "guardrail.input", turns: 1 });
    expect(JSON.stringify(await at.events(outcome.runId))).not.toContain("now project alpha");
  });
});

describe("a rule for output", () => {
  test("ends the run, and no word of the answer was shown or is on record", async () => {
    const { outcome, hits, shown, all } = await runWith(rule(), [{ text: "It is called Project\nAlpha." }]);
    expect(outcome).toMatchObject({ status: "refused", code: "guardrail.output", answer: "[held back by no_project]" });
    expect(hits).toMatchObject([{ place: "output", action: "blocked", code: "guardrail.output" }]);
    expect(shown).toBe("");
    expect(all).not.toContain("It is called");
    const lawful = await runWith(rule(), [{ text: "It is called Project Beta." }]);
    expect(lawful).toMatchObject({ outcome: { status: "done" }, shown: "It is called Project Beta.", hits: [] });
  });

  test("holds for the name of a tool that was not offered, and not for one that was", async () => {
    for (const on of ["output", "arguments"] as const) {
      for (const name of ["Project Alpha", "project_alpha", "x.project-alpha"]) {
        const turns = [{ calls: [[name, {}] as const] }, { text: "fine" }];
        const blocked = await runWith(rule({ on: [on] }), turns);
        expect(blocked.outcome).toMatchObject({ status: "refused", code: "guardrail.output" });
        expect(blocked.hits).toMatchObject([{ rule: "no_project", place: "tool", action: "blocked" }]);
        const taken = await runWith(rule({ on: [on], action: "redact" }), turns);
        expect(taken).toMatchObject({ outcome: { status: "done", answer: "fine" }, replayed: true });
        expect(taken.requests[1]?.messages.slice(-2)).toMatchObject([
          { parts: [{ type: "tool_call", name: "redacted" }] },
          { role: "tool", name: "redacted", outcome: { isError: true, code: "tool.unknown" } },
        ]);
        expect([blocked.all, taken.all].join("")).not.toMatch(/alpha/i);
      }
    }
    const lawful = await runWith(rule({ words: ["echo"] }), [{ calls: [["echo", {}]] }, { text: "fine" }]);
    expect(lawful).toMatchObject({ outcome: { status: "done", toolCalls: 1 }, hits: [] });
  });

  test("takes a part out of what is shown, recorded and seen again", async () => {
    const turns = [{ text: "On Project Alpha: ", calls: [["echo", {}] as const] }, { text: "project  alpha is late" }];
    const { outcome, shown, requests, all } = await runWith(rule({ action: "redact" }), turns);
    expect(outcome).toMatchObject({ status: "done", answer: "[redacted] is late" });
    expect(shown).toBe("On [redacted]: [redacted] is late");
    expect(JSON.stringify(requests[1]?.messages)).not.toMatch(/alpha/i);
    expect(all).not.toMatch(/alpha/i);
  });

  test("has the model asked again, as often as it may, and then ends the run", async () => {
    const guardrails = { ...rule({ action: "ask_again" as const }), tries: 1 };
    const bad = { text: "Project Alpha" };
    const good = await runWith(guardrails, [bad, { text: "The project" }]);
    expect(good).toMatchObject({ outcome: { status: "done", answer: "The project", turns: 2 }, shown: "The project" });
    expect(good.requests[1]?.messages.slice(-2)).toMatchObject([
      { role: "assistant", parts: [{ text: "[held back by no_project]" }] },
      {
        role: "user",
        content: [{ text: "The rule no_project holds back the last answer. Go on without what it forbids." }],
      },
    ]);
    const never = await runWith(guardrails, [bad, bad, { text: "too late" }]);
    expect(never.outcome).toMatchObject({ status: "refused", code: "guardrail.output", turns: 2 });
    expect(never.hits.map(({ action }) => action)).toEqual(["asked_again", "blocked"]);
    expect([good.replayed, never.replayed]).toEqual([true, true]);
  });

  test("holds back calls together with the words beside them", async () => {
    const turns = [{ text: "Project Alpha", calls: [["echo", {}] as const] }];
    const { outcome, events } = await runWith(rule(), turns);
    expect(outcome).toMatchObject({ status: "refused", toolCalls: 0 });
    expect(events.map(({ type }) => type)).not.toContain("tool.requested");
  });

  test("sees an answer of a schema as it will be read, whatever escapes it is written with", async () => {
    const key = `ghp_${"a1B2".repeat(9)}`;
    const answer = String.raw`{"a":"project\u0020alpha is late","b":"c\n${key}","d":"\u0067${key.slice(1)}"}`;
    for (const text of [answer, `Here:\n\`\`\`json\n${answer}\n\`\`\``]) {
      const over = { answerSchema: { schema: { type: "object" } } };
      const { outcome, shown, hits } = await runWith(rule({ action: "redact" }), [{ text }], over);
      expect(outcome).toMatchObject({ status: "done", value: { a: "[redacted] is late", b: "c\n[redacted key]" } });
      expect(shown).toBe(outcome.answer);
      expect(hits.map((hit) => hit.rule)).toEqual(["secrets", "no_project"]);
      const blocked = await runWith(rule(), [{ text }], over);
      expect(blocked.outcome).toMatchObject({ status: "refused", code: "guardrail.output" });
    }
    const whole = await runWith({}, [{ text: answer }], { answerSchema: { schema: {} } });
    expect(whole.outcome.value).toMatchObject({ d: "[redacted key]" });
  });

  test("bounds the length of an answer", async () => {
    const long = { text: "x".repeat(101) };
    const good = await runWith({ maxAnswerChars: 100 }, [long, { text: "x".repeat(100) }]);
    expect(good).toMatchObject({ outcome: { status: "done", turns: 2 }, hits: [{ rule: "answer_size" }] });
    const never = await runWith({ maxAnswerChars: 100, tries: 0 }, [long]);
    expect(never).toMatchObject({ outcome: { status: "refused", code: "guardrail.output" }, shown: "" });
  });

  test("is not held up by a text made against its pattern", async () => {
    const guardrails: Guardrails = { rules: [{ name: "hard", on: ["output"], patterns: ["(a+)+$"], action: "block" }] };
    const { outcome } = await runWith(guardrails, [{ text: `${"a".repeat(100_000)}b` }]);
    expect(outcome).toMatchObject({ status: "done" });
    const hit = await runWith(guardrails, [{ text: "a".repeat(100_000) }]);
    expect(hit.outcome).toMatchObject({ status: "refused" });
  });
});

describe("a rule for arguments", () => {
  test("sees them as the tool will, whatever escapes they are written with", async () => {
    const turns = (text: string): readonly Turn[] => [{ calls: [["echo", `{"text":"${text}"}`]] }, { text: "done" }];
    const blocked = rule({ on: ["arguments"] });
    for (const text of [String.raw`project\u0020alpha`, String.raw`PROJECT\n\u0041LPHA`]) {
      const { outcome, hits } = await runWith(blocked, turns(text));
      expect(outcome).toMatchObject({ status: "refused", code: "guardrail.output", toolCalls: 0 });
      expect(hits).toMatchObject([{ place: "tool", action: "blocked" }]);
    }
    expect(await runWith(blocked, turns("project beta"))).toMatchObject({ outcome: { status: "done", toolCalls: 1 } });
    const redacted = await runWith(rule({ on: ["arguments"], action: "redact" }), turns("on project alpha"));
    expect(redacted.events).toContainEqual(
      expect.objectContaining({ type: "tool.requested", args: { text: "on [redacted]" } }),
    );
  });

  test("sees all calls of an answer, and numbers as the texts that they are", async () => {
    const calls = ["project alpha", "beta", "Project Alpha"].map((text) => ["echo", { text }] as const);
    const { events } = await runWith(rule({ on: ["arguments"], action: "redact" }), [{ calls }, { text: "done" }]);
    const args = events.flatMap((event) => (event.type === "tool.requested" ? [event.args] : []));
    expect(args).toEqual([{ text: "[redacted]" }, { text: "beta" }, { text: "[redacted]" }]);
    const cards: Guardrails = {
      rules: [{ name: "cards", on: ["arguments"], patterns: [String.raw`\b\d{16}\b`], action: "block" }],
    };
    const outcomeOf = async (card: number) =>
      (await runWith(cards, [{ calls: [["echo", { card }]] }, { text: "done" }])).outcome;
    expect(await outcomeOf(4_111_111_111_111_111)).toMatchObject({ status: "refused", toolCalls: 0 });
    expect(await outcomeOf(4_111)).toMatchObject({ status: "done", toolCalls: 1 });
  });
});

describe("the tools of a rule", () => {
  test("are all that the run is offered and may call", async () => {
    const turns = [{ calls: [["other", {}] as const] }, { calls: [["echo", {}] as const] }, { text: "done" }];
    const { outcome, requests, hits } = await runWith({ tools: ["ec*", "nothing"] }, turns);
    expect(outcome).toMatchObject({ status: "done", toolCalls: 2 });
    expect(requests[0]?.tools.map(({ name }) => name)).toEqual(["echo"]);
    expect(requests[1]?.messages.at(-1)).toMatchObject({ outcome: { code: "tool.unknown" } });
    expect(requests[2]?.messages.at(-1)).toMatchObject({ outcome: { isError: false } });
    expect(hits).toMatchObject([{ rule: "tools", place: "tool", action: "blocked" }]);
    expect(hits[0]?.code).toBeUndefined();
  });

  test("never widen what the grant holds", async () => {
    await using at = await openTestHost({ tools: [echo, other], provider: scripted([{ text: "done" }]) });
    const rights = { ...at.grant.rights, tools: at.grant.rights.tools.filter(({ name }) => name === "echo") };
    const { runId } = await at.start("try", { grant: { ...at.grant, rights }, guardrails: { tools: ["*"] } });
    const [created] = await at.events(runId);
    expect(created).toMatchObject({ guardrails: { tools: ["echo"] } });
  });
});

describe("rules from several places", () => {
  test("hold together: those of the config, of the run, and of the run that it belongs to", async () => {
    const config = HostConfig.parse({ guardrails: rule({ name: "of_config", words: ["alpha"] }) });
    const provider = scripted([{ text: "beta" }]);
    await using at = await openTestHost({ tools: [echo, other], provider, config });
    const outer = await at.start("go", { guardrails: { tools: ["echo"], maxAnswerChars: 100 } });
    const parent = { runId: outer.runId, callId: "call_1" };
    const inner = await at.start("go", { parent, guardrails: { tools: ["*"], ...rule({ words: ["beta"] }) } });
    expect(outer.status).toBe("done");
    expect(inner).toMatchObject({ status: "refused", answer: "[held back by no_project]" });
    const [created] = await at.events(inner.runId);
    expect(created).toMatchObject({
      guardrails: { tools: ["echo"], maxAnswerChars: 100, rules: [{ name: "of_config" }, { name: "no_project" }] },
    });
  });

  test("are refused before anything is spent where they can't be used", async () => {
    expect(HostConfig.safeParse({ guardrails: rule({ patterns: ["(?=a)"] }) }).success).toBe(false);
    expect(HostConfig.safeParse({ guardrails: rule({ action: "ask_again", on: ["input"] }) }).success).toBe(false);
    const provider = scripted([]);
    await using at = await openTestHost({ tools: [echo], provider });
    await expect(at.start("go", { guardrails: rule({ patterns: ["(a)\\1"] }) })).rejects.toMatchObject({
      code: "usage.bad_option",
    });
    expect(await at.host.list(1)).toEqual([]);
  });
});

describe("what looks like a secret", () => {
  test("is taken out of what is shown piece by piece, and told", async () => {
    const key = `sk-proj-${"a1B2".repeat(10)}`;
    const provider = scripted([], {
      async *stream() {
        const pieces = ["The key ", "is sk-pr", key.slice(5, 20), key.slice(20), ", so", " keep it."];
        for (const text of pieces) yield { type: "text.delta", text } as const;
        const usage = { inputUncached: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 0, reasoning: 0 };
        yield { type: "message.ended", parts: [{ type: "text", text: pieces.join("") }], stop: "end", usage } as const;
      },
    });
    const shown: string[] = [];
    await using at = await openTestHost({ tools: [echo], provider });
    const outcome = await at.start("go", {
      onSignal: (signal) => signal.type === "text.delta" && shown.push(signal.text),
    });
    expect(shown.join("")).toBe("The key is [redacted key], so keep it.");
    expect(shown.length).toBeGreaterThan(2);
    expect(outcome.answer).toBe(shown.join(""));
    expect(await at.events(outcome.runId)).toContainEqual(
      expect.objectContaining({ type: "guardrail.hit", rule: "secrets", action: "redacted" }),
    );
  });

  test("takes along what the provider said in its own form, however that is written", async () => {
    const key = `ghp_${"a1B2".repeat(9)}`;
    for (const said of [key, String.raw`b\n${key}`, String.raw`\u0067${key.slice(1)}`]) {
      const argumentsText = `{"text":"${said}"}`;
      const raw = { wire: "scripted", model: "scripted", blocks: [{ type: "call", arguments: argumentsText }] };
      const parts = [{ type: "tool_call", callId: "call_0", name: "echo", argumentsText }] as const;
      let turns = 0;
      const provider = scripted([], {
        async *stream() {
          turns += 1;
          yield turns === 1
            ? { type: "message.ended", parts, stop: "tool", usage: free, raw }
            : { type: "message.ended", parts: [{ type: "text", text: "done" }], stop: "end", usage: free };
        },
      });
      await using at = await openTestHost({ tools: [echo], provider });
      const { runId, status } = await at.start("go");
      expect(status).toBe("done");
      expect(JSON.stringify(await at.events(runId))).not.toContain(key.slice(1));
    }
  });

  test("is taken out of calls and their results, and told", async () => {
    const key = `ghp_${"a1B2".repeat(9)}`;
    const uri = `https://example.org/?token=${key}`;
    const content = [
      { type: "resource" as const, uri: "file:///env", text: `TOKEN=${key}` },
      { type: "resource_link" as const, uri, name: key, description: key },
    ];
    const leaking = testTool("leaking", { run: async () => ({ type: "done", value: { key: `a\n${key}` }, content }) });
    const asked = { id: "q", type: "form" as const, message: `Is it ${key}?`, schema: {} };
    const asking = testTool("asking", { run: async () => ({ type: "waiting", requests: [asked], state: null }) });
    const turns = [
      { calls: [["leaking", `{"text":"b\\n${key}"}`] as const] },
      { calls: [["echo", {}] as const, ["asking", {}] as const] },
    ];
    const provider = scripted([...turns, { text: "done" }]);
    await using at = await openTestHost({ tools: [leaking, asking, echo], provider });
    const { runId } = await at.start("go");
    const events = await at.events(runId);
    expect(JSON.stringify([events, provider.requests])).not.toContain(key);
    const [call, result, ...more] = events.filter(({ type }) => type === "guardrail.hit");
    expect(call).toMatchObject({ rule: "secrets", place: "tool", message: expect.stringContaining("the model said") });
    expect(result).toMatchObject({ rule: "secrets", place: "tool", callId: expect.stringMatching(/^call_/) });
    expect(more).toEqual([]);
    expect(await at.host.replay(runId)).toMatchObject({ ok: true });
  });
});

test("a token that a model calls a tool by is nowhere, and goes to no provider", async () => {
  const key = `sk-proj-${"a1B2".repeat(8)}`;
  const { hits, all, requests, outcome } = await runWith({}, [{ calls: [[key, {}]] }, { text: "fine" }]);
  expect(outcome).toMatchObject({ status: "done" });
  expect(hits).toMatchObject([{ rule: "secrets", place: "tool", action: "redacted" }]);
  expect(all + JSON.stringify(requests)).not.toContain(key);
});

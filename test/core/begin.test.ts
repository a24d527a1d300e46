import { describe, expect, test } from "vitest";
import { toForkedCallId } from "../../src/core/begin.ts";
import type { Event, EventBody } from "../../src/core/event.ts";
import type { Run } from "../../src/core/run.ts";
import { applyEvent, foldRun } from "../../src/core/run.ts";
import { localScope } from "../../src/core/scope.ts";
import { toArray } from "../../src/core/sequence.ts";

const limits = { turns: 20, timeMs: 60_000, costMicroUsd: 0, depth: 1, parallel: 2 };
const usage = { inputUncached: 1, cacheRead: 2, cacheWrite5m: 3, cacheWrite1h: 4, output: 5, reasoning: 6 };
const created: EventBody & { type: "run.created" } = {
  type: "run.created",
  task: "go",
  model: "m",
  system: "s",
  limits,
  grantId: "grant_1",
};
const requested: EventBody = { type: "model.requested", callId: "m1", turn: 1, contextHash: "" };
const answered: EventBody = {
  type: "model.answered",
  callId: "m1",
  parts: ["t1", "t2", "t3", "t4", "t5", "t6"].map((callId) => ({
    type: "tool_call",
    callId,
    name: "tool",
    argumentsText: "{}",
  })),
  stop: "tool",
  usage,
  costMicroUsd: 7,
};
const began = (callId: string, effect: "read" | "idempotent" | "once"): EventBody => ({
  type: "tool.requested",
  callId,
  name: "tool",
  args: {},
  effect,
});
const asked = (callId: string, why?: "marked" | "in_doubt"): EventBody => ({
  ...{ type: "approval.requested", callId, name: "tool", args: {}, pin: "p", callHash: "h", question: "?" },
  ...(why === undefined ? {} : { why }),
});
const decided = (callId: string, decision: "approve" | "deny"): EventBody => ({
  type: "input.received",
  input: { type: "approval", callId, decision, approvalId: "approval_1" },
});
const done: EventBody = {
  type: "tool.finished",
  callId: "t1",
  outcome: { isError: false, value: 1 },
  taint: ["files"],
};
const ended: EventBody = { type: "run.finished", status: "cancelled", answer: "", message: "Enough." };

const waits: EventBody = { type: "tool.suspended", callId: "t2", by: { runId: "run_3", pending: [] } };

/** One ended call, one that was begun and may be repeated, one that may not, one that waits, one approved, one denied. */
const open = [created, requested, answered, done, began("t2", "read"), began("t3", "once")];
const all = [...open, asked("t4"), asked("t5"), decided("t5", "approve"), asked("t6"), decided("t6", "deny")];

const at = (runId: string, seq: number, body: EventBody): Event => ({
  ...{ v: 1, scope: localScope, runId, seq, at: 1_000 * seq },
  ...body,
});
const log = (bodies: readonly EventBody[]): readonly Event[] =>
  bodies.map((body, place) => at("run_1", place + 1, body));

function goingOn(
  before: Run,
  how: "fork" | "continue",
  over: Partial<EventBody & { type: "run.created" }> = {},
): Event {
  const previous = { runId: before.runId, seq: before.seq, how };
  return at("run_2", 1, { ...created, task: "and now", model: "m2", grantId: "grant_2", previous, ...over });
}

describe("a run that continues another", () => {
  test("has its context and its taint, and begins to count anew", async () => {
    const before = await foldRun(log([...all, ended]));
    const run = applyEvent(before, goingOn(before, "continue", { taint: ["stdin"] }));
    expect(run).toMatchObject({
      runId: "run_2",
      seq: 1,
      status: "running",
      model: "m2",
      grantId: "grant_2",
      end: null,
    });
    expect(run).toMatchObject({ turns: 0, toolCalls: 0, costMicroUsd: 0, activeMs: 0, cancelled: null });
    expect(run).toMatchObject({ taint: ["files", "stdin"], task: "and now" });
    expect(run.calls.size).toBe(0);
    const messages = toArray(run.messages);
    expect(messages.slice(0, 2)).toEqual(toArray(before.messages));
    expect(messages.at(-1)).toEqual({ role: "user", content: [{ type: "text", text: "and now" }] });
    // Each call has a result, and only one that nobody saw the end of may have taken effect.
    const results = messages.flatMap((message) => (message.role === "tool" ? [message] : []));
    expect(results.map(({ callId }) => callId)).toEqual(["t1", "t2", "t3", "t4", "t5", "t6"]);
    expect(results[0]?.outcome).toEqual({ isError: false, value: 1 });
    const texts = results.slice(1).map(({ outcome }) => JSON.stringify(outcome.content));
    expect(texts.map((text) => text.includes("not known"))).toEqual([true, true, false, false, false]);
  });

  test("has a context hash that follows from the other's", async () => {
    const [one, other] = await Promise.all([
      foldRun(log([created, ended])),
      foldRun(log([{ ...created, task: "go away" }, ended])),
    ]);
    const hashes = [one, other].map((before) => applyEvent(before, goingOn(before, "continue")).messagesHash);
    expect(hashes[0]).not.toBe(hashes[1]);
    expect(one.messagesHash).not.toBe(hashes[0]);
  });
});

describe("a fork of a run", () => {
  test("keeps all that was said and used, under its own model and grant", async () => {
    const before = await foldRun(log([...all, { ...ended, code: "token.revoked" }]));
    const run = applyEvent(before, goingOn(before, "fork", { taint: ["stdin"] }));
    expect(run).toMatchObject({
      runId: "run_2",
      seq: 1,
      status: "running",
      model: "m2",
      grantId: "grant_2",
      end: null,
    });
    expect(run).toMatchObject({ turns: 1, toolCalls: 1, costMicroUsd: 7, usage, cancelled: null, fatal: null });
    expect(run.activeMs).toBe(before.activeMs);
    expect(run.taint).toEqual(["files", "stdin"]);
    expect(toArray(run.messages)).toHaveLength(2);
  });

  test("gives open calls new ids, in its context too, and takes what was allowed from them", async () => {
    const before = await foldRun(log(all));
    const run = applyEvent(before, goingOn(before, "fork"));
    const states = [...run.calls.values()].map(({ callId, state }) => [callId, state.type]);
    const id = (callId: string): string => toForkedCallId("run_2", callId);
    expect(states).toEqual([
      ["t1", "finished"],
      [id("t2"), "new"],
      [id("t3"), "requested"],
      [id("t4"), "new"],
      [id("t5"), "new"],
      [id("t6"), "denied"],
    ]);
    const [, said] = toArray(run.messages);
    const parts = said?.role === "assistant" ? said.parts : [];
    expect(parts.map((part) => part.type === "tool_call" && part.callId)).toEqual(states.map(([callId]) => callId));
    expect(run.messagesHash).not.toBe(before.messagesHash);
    // The run that it comes from is as it was.
    expect([...before.calls.keys()]).toEqual(["t1", "t2", "t3", "t4", "t5", "t6"]);
    expect(JSON.stringify(toArray(before.messages))).not.toContain(id("t2"));
  });

  test.each([
    ["it began and may be repeated by its id", [], "idempotent", true],
    ["a person is asked whether to make it again", [asked("t1", "in_doubt")], "once", true],
    ["a person said to make it again", [asked("t1", "in_doubt"), decided("t1", "approve")], "once", true],
    [
      "that word did not count, and a person is asked anew",
      [asked("t1", "in_doubt"), decided("t1", "approve"), asked("t1")],
      "once",
      true,
    ],
    ["the door has asked a person before it let the call in", [asked("t1", "marked")], "once", false],
  ] as const)("leaves a call in doubt or not where %s", async (_, events, effect, isInDoubt) => {
    const before = await foldRun(log([created, requested, answered, began("t1", effect), ...events]));
    const [call] = applyEvent(before, goingOn(before, "fork")).calls.values();
    expect(call?.state).toEqual(isInDoubt ? { type: "requested", args: {}, effect: "once" } : { type: "new" });
    const [, , result] = toArray(applyEvent(before, goingOn(before, "continue")).messages);
    expect(JSON.stringify(result).includes("not known")).toBe(isInDoubt);
  });

  test("is in doubt about a call whose run waits for a person: that run has begun, and is the other's", async () => {
    const before = await foldRun(log([...open, waits]));
    expect(before.calls.get("t2")?.state.type).toBe("suspended");
    const run = applyEvent(before, goingOn(before, "fork"));
    expect(run.calls.get(toForkedCallId("run_2", "t2"))?.state).toEqual({
      type: "requested",
      args: {},
      effect: "once",
    });
  });

  test("goes on as the other would, with the same context", async () => {
    const before = await foldRun(log([created]));
    const run = applyEvent(before, goingOn(before, "fork"));
    expect(run.messagesHash).toBe(before.messagesHash);
    const asks = applyEvent(run, at("run_2", 2, requested));
    expect(asks).toMatchObject({ seq: 2, modelCallId: "m1" });
  });
});

describe("a run that goes on from another's log", () => {
  const before = foldRun(log([created, requested]));
  const previous = { runId: "run_1", seq: 2, how: "fork" } as const;
  const elsewhere = { org: "other", project: "default" };

  test.each<[string, Event]>([
    ["another event of it", at("run_2", 1, { ...created, previous: { ...previous, seq: 1 } })],
    ["another run", at("run_2", 1, { ...created, previous: { ...previous, runId: "run_3" } })],
    ["itself", at("run_1", 1, { ...created, previous })],
    ["it, but not as its own first event", at("run_2", 2, { ...created, previous })],
    ["a run of another scope", { ...at("run_2", 1, { ...created, previous }), scope: elsewhere }],
  ])("is refused where it names %s", async (_, event) => {
    const run = await before;
    expect(() => applyEvent(run, event)).toThrow(expect.objectContaining({ code: "run.corrupt" }));
    expect(applyEvent(run, at("run_2", 1, { ...created, previous })).runId).toBe("run_2");
  });

  test("is refused without the events before it", () => {
    const alone = at("run_2", 1, { ...created, previous });
    expect(() => applyEvent(null, alone)).toThrow(/event 2 of run_1/);
  });
});

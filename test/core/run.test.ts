import { describe, expect, test } from "vitest";
import type { Event, EventBody } from "../../src/core/event.ts";
import type { Run } from "../../src/core/run.ts";
import { applyEvent, foldRun } from "../../src/core/run.ts";
import { localScope } from "../../src/core/scope.ts";
import { append, emptySequence, toArray } from "../../src/core/sequence.ts";

const limits = { turns: 20, timeMs: 60_000, costMicroUsd: 0, depth: 1, parallel: 2 };
const usage = { inputUncached: 1, cacheRead: 2, cacheWrite5m: 3, cacheWrite1h: 4, output: 5, reasoning: 6 };
const created: EventBody = { type: "run.created", task: "go", model: "m", limits, grantId: "grant_1" };
const requested: EventBody = { type: "model.requested", callId: "m1", turn: 1, contextHash: "" };
const answered: EventBody = {
  type: "model.answered",
  callId: "m1",
  parts: [{ type: "tool_call", callId: "t1", name: "read", argumentsText: "{}" }],
  stop: "tool",
  usage,
  costMicroUsd: 7,
};
const finished: EventBody = {
  type: "tool.finished",
  callId: "t1",
  outcome: { isError: false, value: 1 },
  taint: ["files"],
};

const at = (seq: number, body: EventBody, ms = seq): Event => ({
  v: 1,
  scope: localScope,
  runId: "run_1",
  seq,
  at: ms,
  ...body,
});
const log = (...bodies: readonly EventBody[]): readonly Event[] => bodies.map((body, place) => at(place + 1, body));

describe("a run folded from its events", () => {
  test("holds its messages, totals and taint", async () => {
    const run = await foldRun(log(created, requested, answered, finished));
    expect(run).toMatchObject({
      status: "running",
      turns: 1,
      toolCalls: 1,
      costMicroUsd: 7,
      usage,
      taint: ["files"],
      activeMs: 3,
    });
    expect(toArray(run.messages).map(({ role }) => role)).toEqual(["user", "assistant", "tool"]);
  });

  test("is a value: what is applied to it later leaves it as it was", async () => {
    const run = await foldRun(log(created));
    const first = applyEvent(run, at(2, { type: "input.received", input: { type: "message", text: "a", taint: [] } }));
    const second = applyEvent(run, at(2, { type: "input.received", input: { type: "message", text: "b", taint: [] } }));
    expect(toArray(run.messages)).toHaveLength(1);
    expect(toArray(first.messages)[1]).toMatchObject({ content: [{ text: "a" }] });
    expect(toArray(second.messages)[1]).toMatchObject({ content: [{ text: "b" }] });
    expect(first.messagesHash).not.toBe(second.messagesHash);
  });

  test("puts a message that came while a call was open behind the call's result", async () => {
    const input: EventBody = { type: "input.received", input: { type: "message", text: "also this", taint: [] } };
    const run = await foldRun(log(created, requested, answered, input, finished));
    expect(toArray(run.messages).map(({ role }) => role)).toEqual(["user", "assistant", "tool", "user"]);
  });

  test("does not count the time in which nobody drove it", async () => {
    const events = [
      at(1, created, 0),
      at(2, requested, 10),
      at(3, { type: "run.suspended", reason: "interrupted", callIds: [] }, 20),
      at(4, { type: "run.resumed", grantId: "grant_2" }, 5_000),
      at(5, answered, 5_005),
      // A crash leaves no event: what lies before the next resume is not counted either.
      at(6, { type: "run.resumed", grantId: "grant_3" }, 9_000),
      at(7, finished, 9_001),
    ];
    expect(await foldRun(events)).toMatchObject({ activeMs: 26, grantId: "grant_3", status: "running" });
  });

  test("takes an answer to a call that no longer waits for nothing", async () => {
    const input: EventBody = {
      type: "input.received",
      input: { type: "approval", callId: "t1", decision: "approve", approvalId: "a" },
    };
    const run = await foldRun(log(created, requested, answered, input));
    expect(run.calls.get("t1")?.state.type).toBe("new");
  });

  test.each<[string, readonly Event[]]>([
    ["no event", []],
    ["another beginning", log(requested)],
    ["a second beginning", log(created, created)],
    ["a gap", [at(1, created), at(3, requested)]],
    ["another run's event", [at(1, created), { ...at(2, requested), runId: "run_2" }]],
    ["an answer that nobody asked for", log(created, answered)],
    ["the end of a call that is not open", log(created, finished)],
    [
      "a word of a rule between a call and its result",
      log(created, requested, answered, {
        ...{ type: "guardrail.hit", rule: "r", place: "output", action: "asked_again", message: "Again." },
      }),
    ],
    ["the end of a call twice", log(created, requested, answered, finished, finished)],
    ["an event behind the end", log(created, { type: "run.finished", status: "done", answer: "" }, requested)],
  ])("refuses a log with %s", async (_, events) => {
    await expect(foldRun(events)).rejects.toMatchObject({ code: "run.corrupt" });
  });

  test("costs the same per event, however long the log is", () => {
    const result = (seq: number): Event[] => [
      at(seq, { ...requested, callId: `m${seq}` }),
      at(seq + 1, { ...answered, callId: `m${seq}` }),
      at(seq + 2, finished),
    ];
    const time = (run: Run, turns: number): readonly [Run, number] => {
      const started = process.cpuUsage();
      let next = run;
      for (let turn = 0; turn < turns; turn += 1) next = result(next.seq + 1).reduce<Run>(applyEvent, next);
      return [next, process.cpuUsage(started).user / turns];
    };
    const start = applyEvent(null, at(1, created));
    const [short] = time(start, 500);
    const [, early] = time(short, 500);
    const [long] = time(short, 20_000);
    const [, late] = time(long, 500);
    expect(late).toBeLessThan(5 * early + 50);
  });
});

describe("a sequence", () => {
  test("keeps each version, however it branches", () => {
    const base = append(append(emptySequence<number>(), 1), 2);
    const left = append(base, 3);
    const right = append(base, 4);
    expect([base, left, right, append(left, 5), append(right, 6)].map(toArray)).toEqual([
      [1, 2],
      [1, 2, 3],
      [1, 2, 4],
      [1, 2, 3, 5],
      [1, 2, 4, 6],
    ]);
  });
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ContextMessage } from "../../src/core/run.ts";
import { localScope } from "../../src/core/scope.ts";
import { toSequence } from "../../src/core/sequence.ts";
import { repairMessages, repairSequence } from "../../src/host/repair.ts";
import { pureCases } from "../support/cases.ts";
import { testTool } from "../support/door.ts";
import { free, openTestHost, scripted } from "./scripted.ts";

const user: ContextMessage = { role: "user", content: [{ type: "text", text: "go on" }] };
const asks = (...ids: readonly string[]): ContextMessage => ({
  role: "assistant",
  parts: [
    { type: "text", text: "So:" },
    ...ids.map((callId) => ({ type: "tool_call" as const, callId, name: "echo", argumentsText: "{}" })),
  ],
  raw: { wire: "w", model: "m", blocks: [] },
});
const answers = (callId: string, value: number): ContextMessage => ({
  role: "tool",
  callId,
  name: "echo",
  outcome: { isError: false, value },
});
const callsOf = (message: ContextMessage): readonly string[] =>
  message.role === "assistant" ? message.parts.flatMap((part) => (part.type === "tool_call" ? [part.callId] : [])) : [];

/** Where messages are not as a model API demands them. */
function faultsOf(messages: readonly ContextMessage[]): readonly string[] {
  const faults: string[] = [];
  const asked = new Set<string>();
  let open: readonly string[] = [];
  for (const message of messages) {
    if (message.role === "tool") {
      const { callId } = message;
      if (!open.includes(callId)) faults.push(`a result of ${callId}, which is not open`);
      open = open.filter((one) => one !== callId);
      continue;
    }
    faults.push(...open.map((callId) => `${callId} is not answered at once`));
    open = callsOf(message);
    faults.push(...open.filter((callId, place) => asked.has(callId) || open.indexOf(callId) !== place));
    for (const callId of open) asked.add(callId);
  }
  return [...faults, ...open];
}

const id = fc.constantFrom("a", "b", "c", "d");
const anyMessage = fc.oneof(
  fc.constant(user),
  fc.array(id, { maxLength: 4 }).map((ids) => asks(...ids)),
  fc.tuple(id, fc.nat(9)).map(([callId, value]) => answers(callId, value)),
);
const anyMessages = fc.array(anyMessage, { maxLength: 12 });

/** Lists that are in order, however their results are ordered among each other. */
const orderly = fc.array(fc.oneof(fc.constant(null), fc.shuffledSubarray([0, 1, 2])), { maxLength: 6 }).map((turns) =>
  turns.flatMap((places, turn) => {
    if (places === null) return [user];
    const ids = places.map((place) => `${turn}_${place}`);
    return [asks(...ids.toSorted()), ...ids.map((callId) => answers(callId, turn))];
  }),
);

describe("repairMessages()", () => {
  test("answers each call exactly once, right after its message, whatever goes in", () => {
    fc.assert(
      fc.property(anyMessages, (messages) => {
        const repaired = repairMessages(messages);
        expect(faultsOf(repaired)).toEqual([]);
        // Nothing that anybody said is lost, and no call: what is new says that nobody saw the end.
        expect(new Set(repaired.flatMap(callsOf))).toEqual(new Set(messages.flatMap(callsOf)));
        const words = (all: readonly ContextMessage[]) => all.map(({ role }) => role).filter((role) => role !== "tool");
        expect(words(repaired)).toEqual(words(messages));
        const made = repaired.filter((message) => message.role === "tool" && !messages.includes(message));
        for (const message of made)
          expect(message).toMatchObject({ outcome: { isError: true, code: "tool.cancelled" } });
        expect(repairMessages(repaired)).toBe(repaired);
      }),
      { numRuns: pureCases },
    );
  });

  test("leaves what is in order as it is: the same list", () => {
    fc.assert(
      fc.property(orderly, (messages) => {
        expect(repairMessages(messages)).toBe(messages);
      }),
      { numRuns: pureCases },
    );
  });

  test("finds the same in a list that grows, at every length and in whatever order it is asked", () => {
    const lengths = fc.array(fc.nat(30), { maxLength: 20 });
    fc.assert(
      fc.property(orderly, anyMessages, lengths, (begun, messages, asked) => {
        const { backing } = toSequence([...begun, ...messages]);
        for (const length of [...asked.filter((one) => one <= backing.length), backing.length]) {
          expect(repairSequence({ length, backing })).toEqual(repairMessages(backing.slice(0, length)));
        }
      }),
      { numRuns: pureCases },
    );
  });

  test("keeps every message that is right, and takes a result that came late or twice once", () => {
    const [first, second, late, twice] = [asks("a", "b"), asks("c"), answers("a", 1), answers("a", 2)];
    expect(repairMessages([answers("a", 0), user, first, user, late, twice, second])).toEqual([
      user,
      first,
      late,
      {
        role: "tool",
        callId: "b",
        name: "echo",
        outcome: {
          isError: true,
          code: "tool.cancelled",
          content: [{ type: "text", text: expect.stringMatching(/^tool\.cancelled: .*may have taken effect/) }],
        },
      },
      user,
      second,
      expect.objectContaining({ callId: "c" }),
    ]);
  });

  test("gives back nothing in a provider's own form that holds a call which was left out", () => {
    const [, , again] = repairMessages([asks("a"), answers("a", 1), asks("a", "b")]);
    expect(again).toEqual({
      role: "assistant",
      parts: [{ type: "text", text: "So:" }, expect.objectContaining({ callId: "b" })],
    });
  });
});

test("a run goes on from a log in which two calls have one id: its model reads one of them, with its result", async () => {
  const stopping = new AbortController();
  const model = scripted([{ text: "never said" }, { text: "The end." }]);
  let isFirst = true;
  const provider = {
    ...model,
    async *stream(...[request, signal]: Parameters<typeof model.stream>) {
      if (isFirst) stopping.abort();
      isFirst = false;
      yield* model.stream(request, signal);
    },
  };
  await using at = await openTestHost({ tools: [testTool("echo")], provider });
  const { runId } = await at.start("Say it.", { signal: stopping.signal });
  const events = await at.events(runId);
  const created = events.find((event) => event.type === "run.created");
  const requested = events.find((event) => event.type === "model.requested");
  const call = { type: "tool_call" as const, callId: "twice", name: "echo", argumentsText: "{}" };
  const raw = { wire: "w", model: "m", blocks: [] };
  await at.store.commit({
    scope: localScope,
    runId,
    afterSeq: events.length,
    events: [
      { type: "run.resumed", grantId: created?.grantId ?? "" },
      {
        type: "model.answered",
        callId: requested?.callId ?? "",
        ...{ parts: [call, call], raw, stop: "tool", usage: free, costMicroUsd: 0 },
      },
      { type: "tool.requested", callId: "twice", name: "echo", args: {}, effect: "read" },
      { type: "tool.finished", callId: "twice", outcome: { isError: false, value: 1 }, taint: [] },
    ],
  });
  expect(await at.resume(runId)).toMatchObject({ status: "done", answer: "The end." });
  expect(model.requests.map(({ messages }) => messages)).toEqual([
    [
      { role: "user", content: [{ type: "text", text: "Say it." }] },
      { role: "assistant", parts: [call] },
      { role: "tool", callId: "twice", name: "echo", outcome: { isError: false, value: 1 } },
    ],
  ]);
});

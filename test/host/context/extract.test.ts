import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ContextMessage } from "../../../src/core/run.ts";
import { extractSummary } from "../../../src/host/context/extract.ts";
import { toTranscript } from "../../../src/host/context/transcript.ts";
import { pureCases } from "../../support/cases.ts";

const user = (text: string, summary?: true): ContextMessage => ({
  ...{ role: "user", content: [{ type: "text", text }] },
  ...(summary === undefined ? {} : { summary }),
});
const asks = (callId: string, text: string, argumentsText: string): ContextMessage => ({
  role: "assistant",
  parts: [
    { type: "reasoning", text: "hm" },
    { type: "text", text },
    { type: "tool_call", callId, name: "search", argumentsText },
  ],
});
const result = (callId: string, text: string, isError = false): ContextMessage => ({
  ...{ role: "tool", callId, name: "search" },
  outcome: { content: [{ type: "text", text }], isError },
});

const story: readonly ContextMessage[] = [
  user("Find the cheapest flight to Lisbon. It must leave on Friday."),
  user("Here stood 7 older messages.\n\nThe user: earlier\nsearch {} gave: a fact", true),
  asks("call_1", "I look at\n  the timetable first.", '{"q":"LIS"}'),
  result("call_1", "TP 567, 120 EUR"),
  asks("call_2", "", '{"q":"hotel"}'),
  result("call_2", "tool.failed: the server is down", true),
];

describe("extractSummary()", () => {
  test("tells in a line each what was asked, said, called and came of it, after an earlier summary", () => {
    expect(extractSummary(story, 2_000).split("\n")).toEqual([
      "The user: earlier",
      "search {} gave: a fact",
      "The user: Find the cheapest flight to Lisbon. It must leave on Friday.",
      "The model: I look at the timetable first.",
      'search {"q":"LIS"} gave: TP 567, 120 EUR',
      'search {"q":"hotel"} failed: tool.failed: the server is down',
    ]);
  });

  test("leaves out the oldest lines first, and says how many", () => {
    expect(extractSummary(story.slice(2), 120).split("\n")).toEqual([
      "(2 older lines are left out)",
      'search {"q":"hotel"} failed: tool.failed: the server is down',
    ]);
  });

  const anyMessage: fc.Arbitrary<ContextMessage> = fc.oneof(
    fc.string({ unit: "binary", maxLength: 900 }).map((text) => user(text)),
    fc.string({ unit: "binary", maxLength: 900 }).map((text) => user(`x\n\n${text}`, true)),
    fc.string({ maxLength: 900 }).map((text) => asks("call_1", text, text)),
    fc
      .array(fc.constantFrom("\ud83d", "\ude00", "a", " "), { maxLength: 900 })
      .map((units) => asks("call_1", units.join(""), units.join(""))),
    fc
      .tuple(fc.string({ unit: "grapheme", maxLength: 900 }), fc.boolean())
      .map(([text, bad]) => result("call_1", text, bad)),
  );

  test(
    "never takes more room than it has, and neither does a transcript, a sentence aside",
    () => {
      const fits = fc.property(
        fc.array(anyMessage, { maxLength: 12 }),
        fc.integer({ min: 100, max: 4_000 }),
        (all, room) => {
          const [summary, transcript] = [extractSummary(all, room), toTranscript(all, room)];
          expect(Buffer.byteLength(summary)).toBeLessThanOrEqual(room);
          expect(Buffer.byteLength(transcript)).toBeLessThan(room + 60);
          // Providers refuse half a surrogate pair.
          expect([summary, transcript].every((text) => text.isWellFormed())).toBe(true);
        },
      );
      fc.assert(fits, { numRuns: Math.max(200, pureCases / 4) });
    },
    30_000 + 10 * pureCases,
  );
});

describe("toTranscript()", () => {
  test("tells the beginning and the end of what is too much, however many messages it is, and how many are between", () => {
    const all = [
      user("The task."),
      ...Array.from({ length: 20_000 }, (_, place) => user(`${place}`)),
      user("The last."),
    ];
    const text = toTranscript(all, 10_000);
    expect(Buffer.byteLength(text)).toBeLessThan(10_060);
    expect(Buffer.byteLength(text)).toBeGreaterThan(9_900);
    expect(text).toMatch(/^User: The task\.\n\nUser: 0\n\nUser: 1\n/);
    expect(text).toMatch(/\nUser: 19998\n\nUser: 19999\n\nUser: The last\.$/);
    const left = Number(/\[… (\d+) messages left out here …\]/.exec(text)?.[1]);
    expect(text.split("\n\n").length - 1 + left).toBe(all.length);
    expect(toTranscript(all, 1_000_000).split("\n\n")).toHaveLength(all.length);
  });

  test("cuts the longest messages before it leaves any out", () => {
    const text = toTranscript([user("short"), user("long ".repeat(1_000)), user("also short")], 300);
    expect(text).toMatch(/^User: short\n\nUser: long long .* \[…\]\n\nUser: also short$/);
  });
});

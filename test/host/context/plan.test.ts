import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateContext, pictureBytes, weigh } from "../../../src/core/context.ts";
import type { AnswerPart, Block, Event, EventBody } from "../../../src/core/event.ts";
import type { ContextMessage, Run } from "../../../src/core/run.ts";
import { applyEvent } from "../../../src/core/run.ts";
import { localScope } from "../../../src/core/scope.ts";
import { toArray } from "../../../src/core/sequence.ts";
import { countContext, countWhereClose, loadTokenizer } from "../../../src/host/context/count.ts";
import { extractSummary } from "../../../src/host/context/extract.ts";
import { toRoom, toSummaryBytes } from "../../../src/host/context/plan.ts";
import { toTranscript } from "../../../src/host/context/transcript.ts";
import { decide, toCallId } from "../../../src/host/decide.ts";
import { plainCases } from "../../support/cases.ts";
import { free } from "../scripted.ts";

const count = await loadTokenizer();

type Kind = "words" | "code" | "cjk" | "emoji";
interface Content {
  readonly kind: Kind;
  readonly chars: number;
  readonly picture: boolean;
}
/** What the model does in a turn, and what comes in meanwhile. */
interface Turn {
  readonly says: Content;
  readonly results: readonly Content[];
  readonly comes: Content | null;
  /** Whether the provider counts, and by which factor it differs from the tokenizer. */
  readonly counts: number | null;
  readonly full: boolean;
}
interface Story {
  readonly task: Content;
  readonly turns: readonly Turn[];
  readonly windowTokens: number | undefined;
  readonly resultTokens: number;
}

const kinds: Readonly<Record<Kind, string>> = {
  words: "the quick brown fox jumps over lazy dogs ",
  code: "a8Zq03+/kLm29xYtR7vBn1",
  cjk: "漢字仮名交じり文",
  emoji: "👩🏽‍🚀🧪",
};
const toText = ({ kind, chars }: Content): string =>
  kinds[kind].repeat(Math.ceil(chars / kinds[kind].length)).slice(0, chars);
const toBlocks = (content: Content): Block[] => [
  { type: "text", text: toText(content) },
  ...(content.picture ? [{ type: "image" as const, mimeType: "image/png", data: "A".repeat(9_000) }] : []),
];

const content = (maxChars: number): fc.Arbitrary<Content> =>
  fc.record({
    kind: fc.constantFrom<Kind>("words", "code", "cjk", "emoji"),
    chars: fc.nat({ max: maxChars }),
    picture: fc.integer({ min: 0, max: 19 }).map((die) => die === 0),
  });
const story: fc.Arbitrary<Story> = fc.record({
  task: content(600),
  turns: fc.array(
    fc.record({
      says: content(400),
      results: fc.array(content(4_000), { maxLength: 3 }),
      comes: fc.option(content(500), { freq: 5 }),
      counts: fc.option(fc.constantFrom(0.7, 1, 1.3), { freq: 2 }),
      full: fc.integer({ min: 0, max: 14 }).map((die) => die === 0),
    }),
    { maxLength: 12 },
  ),
  windowTokens: fc.option(fc.integer({ min: 1_000, max: 6_000 }), { freq: 6, nil: undefined }),
  resultTokens: fc.integer({ min: 200, max: 2_000 }),
});

/** Tells a story through `decide`, as the driver does, and looks at each request with `look`. */
async function tell({ task, turns, windowTokens, resultTokens }: Story, look: (run: Run) => void) {
  const events: Event[] = [];
  let run: Run | null = null;
  let requests = 0;
  const write = (body: EventBody): Run => {
    const event: Event = { v: 1, scope: localScope, runId: "run_1", seq: events.length + 1, at: 0, ...body };
    events.push(event);
    return applyEvent(run, event);
  };
  const comes = (said: Content, taint: string[]): EventBody => {
    const [, ...pictures] = toBlocks(said);
    return { type: "input.received", input: { type: "message", text: toText(said), content: pictures, taint } };
  };
  run = write({
    type: "run.created",
    ...{ task: `Do it. ${toText(task)}`, model: "m", grantId: "grant_1", resultTokens },
    ...(windowTokens === undefined ? {} : { windowTokens }),
    limits: { turns: turns.length + 1, timeMs: 60_000, costMicroUsd: 0, depth: 1, parallel: 3 },
  });
  for (let step = 0; run.end === null; step += 1) {
    if (step > 500) throw new Error("the story does not end");
    const [command] = decide(run);
    const turn = turns[run.turns];
    switch (command?.type) {
      case "compact": {
        const all = toArray(run.messages);
        const summary = extractSummary(all.slice(0, command.messages), toSummaryBytes(run));
        run = write({ type: "context.compacted", messages: command.messages, summary, by: "extraction" });
        break;
      }
      case "call_model": {
        const tokens = await countWhereClose(run, []);
        if (tokens !== null) {
          run = write({ type: "context.counted", tokens });
          break;
        }
        look(run);
        requests += 1;
        const input = countContext(run, [], count);
        run = write({ type: "model.requested", callId: command.id, turn: command.turn, contextHash: "" });
        if (turn?.comes) run = write(comes(turn.comes, ["web"]));
        const on: Run = run;
        const parts: AnswerPart[] = [
          { type: "text", text: turn === undefined ? "The end." : toText(turn.says) },
          ...(turn?.results ?? []).map((_, place) => ({
            ...{ type: "tool_call" as const, name: "read", argumentsText: `{"n":${place}}` },
            callId: toCallId(on, "tool", on.turns, place),
          })),
        ];
        const stop = turn?.full ? "context_full" : parts.length > 1 ? "tool" : turn === undefined ? "end" : "paused";
        const usage = turn?.counts ? { ...free, inputUncached: Math.ceil(input * turn.counts), output: 5 } : free;
        run = write({ type: "model.answered", callId: command.id, parts, stop, usage, costMicroUsd: 0 });
        break;
      }
      case "call_tool": {
        const place = Number(command.args["n"]);
        const result = turns[run.turns - 1]?.results[place] ?? { kind: "words" as const, chars: 1, picture: false };
        const about = { callId: command.id, name: "read", args: {}, effect: "read" as const };
        run = write({ type: "tool.requested", ...about });
        const outcome = { content: toBlocks(result), isError: false };
        run = write({ type: "tool.finished", callId: command.id, outcome, taint: ["files"] });
        break;
      }
      case "finish":
        run = write({ type: "run.finished", ...command.end });
        break;
      default:
        throw new Error(`nobody does ${command?.type ?? "nothing"}`);
    }
  }
  return { run, events, requests };
}

const textOf = (message: ContextMessage | undefined): string =>
  message?.role === "user" ? message.content.map((block) => (block.type === "text" ? block.text : "")).join("") : "";

/** Whether every result stands behind its call, and every call before its result. */
function isPaired(messages: readonly ContextMessage[]): boolean {
  const open = new Set<string>();
  for (const message of messages) {
    if (message.role === "tool" ? !open.delete(message.callId) : open.size > 0) return false;
    if (message.role !== "assistant") continue;
    for (const part of message.parts) if (part.type === "tool_call") open.add(part.callId);
  }
  return open.size === 0;
}

/** How a run ended, by its code where it has one. */
const endOf = ({ end }: Run): string => end?.code ?? end?.status ?? "";

describe("the context of a run", () => {
  test(
    "fits the window by the tokenizer, or the run says that it is full, whatever the history",
    async () => {
      const seen = { compacted: 0, full: 0, requests: 0, counted: 0 };
      const fits = fc.asyncProperty(story, async (one) => {
        const { run, events, requests } = await tell(one, (at) => {
          const messages = toArray(at.messages);
          expect(isPaired(messages)).toBe(true);
          expect(textOf(messages[at.context.taskAt])).toMatch(/^Do it\. /);
          // What was counted by the provider is believed; what it did not count is counted anew.
          const budget = at.windowTokens === undefined ? Infinity : (toRoom(at)?.budget ?? 0);
          expect(countContext(at, [], count)).toBeLessThanOrEqual(budget);
        });
        seen.requests += requests;
        seen.compacted += events.some(({ type }) => type === "context.compacted") ? 1 : 0;
        seen.counted += events.some(({ type }) => type === "context.counted") ? 1 : 0;
        seen.full += endOf(run) === "run.cut_off" ? 1 : 0;
        expect(["done", "run.cut_off", "run.turns"]).toContain(endOf(run));
      });
      const numRuns = Math.max(100, plainCases / 20);
      await expect(fc.assert(fits, { numRuns })).resolves.toBeUndefined();
      // Each way is tried.
      expect(Math.min(...Object.values(seen))).toBeGreaterThan(numRuns / 50);
    },
    60_000 + 20 * plainCases,
  );

  test(
    "only grows at its end until it is summed up, keeps what the user said last, and folds the same twice",
    async () => {
      const grows = fc.asyncProperty(story, async (one) => {
        const { events } = await tell(one, () => {});
        let run: Run | null = null;
        let said = "";
        for (const event of events) {
          const before: readonly ContextMessage[] = run === null ? [] : toArray(run.messages);
          run = applyEvent(run, event);
          const after = toArray(run.messages);
          if (event.type === "run.created") said = event.task;
          if (event.type === "input.received" && event.input.type === "message") said = event.input.text;
          const last = [...after, ...run.queued].findLast(
            (message) => message.role === "user" && message.summary !== true,
          );
          expect(textOf(last).endsWith(said)).toBe(true);
          expect(run.context.bytes).toBe(after.reduce((sum, message) => sum + weigh(message), 0));
          const isSame = after.slice(0, before.length).every((message, place) => message === before[place]);
          expect(isSame || event.type === "context.compacted").toBe(true);
        }
        const again = events.reduce<Run | null>(applyEvent, null);
        expect(again).toEqual(run);
      });
      await expect(fc.assert(grows, { numRuns: Math.max(50, plainCases / 40) })).resolves.toBeUndefined();
    },
    60_000 + 20 * plainCases,
  );

  test("sums up thousands of tiny messages in few steps, and keeps the task and what the user said last", () => {
    const messages = 20_000;
    let run: Run | null = null;
    let seq = 0;
    const write = (body: EventBody): Run => {
      seq += 1;
      return (run = applyEvent(run, { v: 1, scope: localScope, runId: "run_1", seq, at: 0, ...body }));
    };
    let now = write({
      type: "run.created",
      ...{ task: "Count.", model: "m", grantId: "grant_1", windowTokens: 40_000 },
      limits: { turns: 9, timeMs: 1_000, costMicroUsd: 0, depth: 1, parallel: 1 },
    });
    const summed: number[] = [];
    for (let place = 1; place <= messages; place += 1) {
      now = write({ type: "input.received", input: { type: "message", text: `${place}`, taint: [] } });
      const [command] = decide(now);
      if (command?.type !== "compact") continue;
      const oldest = toArray(now.messages).slice(0, command.messages);
      const maxBytes = toSummaryBytes(now);
      const summary = extractSummary(oldest, maxBytes);
      expect(Buffer.byteLength(summary)).toBeLessThanOrEqual(maxBytes);
      expect(Buffer.byteLength(toTranscript(oldest, maxBytes))).toBeLessThan(maxBytes + 60);
      now = write({ type: "context.compacted", messages: command.messages, summary, by: "extraction" });
      summed.push(oldest.length);
      expect([textOf(now.messages.backing[0]), textOf(toArray(now.messages).at(-1))]).toEqual(["Count.", `${place}`]);
    }
    // Each is summed up once, beside the few that stay and the summary before.
    const all = summed.reduce((sum, some) => sum + some, 0);
    expect(all).toBeGreaterThan(messages / 2);
    expect(all).toBeLessThan(messages + 3 * summed.length);
    expect(summed.length).toBeLessThan(30);
  });

  test("keeps what the user said last, whatever a rule has the model asked for again", () => {
    const limits = { turns: 9, timeMs: 1_000, costMicroUsd: 0, depth: 1, parallel: 1 };
    const again = { type: "guardrail.hit", rule: "r", place: "output", action: "asked_again" } as const;
    const answered = (callId: string): readonly EventBody[] => [
      { type: "model.requested", callId, turn: 1, contextHash: "" },
      {
        ...{ type: "model.answered", callId, stop: "end", costMicroUsd: 0, usage: free },
        parts: [{ type: "text", text: `An answer, ${callId}.` }],
      },
    ];
    const bodies: readonly EventBody[] = [
      { type: "run.created", task: "The task.", model: "m", grantId: "grant_1", limits },
      ...answered("call_1"),
      { type: "input.received", input: { type: "message", text: "In metres.", taint: [] } },
      ...answered("call_2"),
      { ...again, message: "Say it in fewer." },
      ...answered("call_3"),
      { type: "context.compacted", messages: 6, summary: "So far.", by: "extraction" },
      { ...again, message: "In fewer still." },
      ...answered("call_4"),
      { type: "context.compacted", messages: 5, summary: "Until now.", by: "extraction" },
    ];
    const run = bodies.reduce<Run | null>(
      (before, body, place) =>
        applyEvent(before, { v: 1, scope: localScope, runId: "run_1", seq: place + 1, at: 0, ...body }),
      null,
    );
    const kept = toArray(run?.messages ?? { length: 0, backing: [] }).map(textOf);
    expect(kept).toEqual(["The task.", "In metres.", expect.stringContaining("Until now.")]);
  });

  test("weighs what a model said once, and pictures as such, whatever its provider keeps of it", () => {
    const said = { role: "assistant", parts: [{ type: "text", text: "Here it is." }] } as const;
    const raw = { wire: "w", model: "m", blocks: [{ type: "thinking", signature: "s".repeat(9_000) }] };
    expect(weigh({ ...said, raw })).toBeLessThanOrEqual(weigh(said));
    const picture = { type: "image", mimeType: "image/png", data: "A".repeat(1_000_000) } as const;
    const drawn = weigh({ role: "user", content: [picture] }) - weigh({ role: "user", content: [] });
    expect(drawn).toBeGreaterThan(pictureBytes);
    expect(drawn).toBeLessThan(pictureBytes + 100);
  });

  test("is estimated by what the provider counted last, and by its density from then on", () => {
    const created: EventBody = {
      type: "run.created",
      ...{ task: "x".repeat(4_000), model: "m", grantId: "grant_1", windowTokens: 100_000 },
      limits: { turns: 9, timeMs: 1_000, costMicroUsd: 0, depth: 1, parallel: 1 },
    };
    const bodies: readonly EventBody[] = [
      created,
      { type: "model.requested", callId: "call_1", turn: 1, contextHash: "" },
      {
        ...{ type: "model.answered", callId: "call_1", stop: "paused", costMicroUsd: 0 },
        parts: [{ type: "text", text: "y" }],
        usage: { ...free, inputUncached: 1_000, cacheRead: 1_000, output: 7, reasoning: 50 },
      },
      { type: "input.received", input: { type: "message", text: "z".repeat(4_000), taint: [] } },
    ];
    const steps: number[] = [];
    let run: Run | null = null;
    for (const [place, body] of bodies.entries()) {
      run = applyEvent(run, { v: 1, scope: localScope, runId: "run_1", seq: place + 1, at: 0, ...body });
      steps.push(estimateContext(run));
    }
    const [first = 0, , counted = 0, last = 0] = steps;
    // Four bytes each at first, then what was counted, without the thinking that does not come back.
    expect(first).toBeGreaterThan(1_000);
    expect(first).toBeLessThan(1_050);
    expect(counted).toBe(2_007);
    // Twice as dense as was thought.
    expect(last - counted).toBeGreaterThan(1_900);
    expect(last - counted).toBeLessThan(2_100);
  });
});

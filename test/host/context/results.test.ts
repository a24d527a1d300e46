import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pictureBytes, toResultBytes, weigh } from "../../../src/core/context.ts";
import type { Block, ToolOutcome } from "../../../src/core/event.ts";
import { cutResult, readResultName, toResultText } from "../../../src/core/result-text.ts";
import { toArray } from "../../../src/core/sequence.ts";
import type { ModelRequest, Provider } from "../../../src/host/provider.ts";
import type { Outcome } from "../../../src/tools/tool.ts";
import { pureCases } from "../../support/cases.ts";
import { testTool } from "../../support/door.ts";
import { openTestHost, toEvents } from "../scripted.ts";

const picture = (place: number): Block => ({ type: "image", mimeType: "image/png", data: `${place}`.repeat(500) });
const config = { resultTokens: 300 };

type ToolMessage = ModelRequest["messages"][number] & { readonly role: "tool" };
const resultsOf = ({ messages }: ModelRequest): readonly ToolMessage[] =>
  messages.filter((message): message is ToolMessage => message.role === "tool");
const textOf = ({ content = [] }: ToolOutcome): string =>
  content.map((block) => (block.type === "text" ? block.text : "")).join("");

/** A model that calls the tool `big`, then follows the sentences of cut results until nothing of them is left to read. */
function reader(): Provider & { readonly requests: ModelRequest[] } {
  const requests: ModelRequest[] = [];
  return {
    name: "reader",
    identity: "reader",
    metered: true,
    async *stream(request) {
      requests.push(request);
      const results = resultsOf(request);
      const last = results.at(-1);
      const call = /read_result (\{[^}]*\})/.exec(textOf(results[0]?.outcome ?? { isError: false }))?.[1];
      const next = /Read on with "from":(\d+)/.exec(textOf(last?.outcome ?? { isError: false }))?.[1];
      const args: unknown = JSON.parse(call ?? "{}");
      const from = next === undefined ? {} : { from: Number(next) };
      if (last === undefined) yield* toEvents({ calls: [["big", {}]] });
      else if (call === undefined || (results.length > 1 && next === undefined)) yield* toEvents({ text: "read" });
      else yield* toEvents({ calls: [[readResultName, { ...(typeof args === "object" ? args : {}), ...from }]] });
    },
    requests,
  };
}

async function readAll(outcome: Outcome) {
  const provider = reader();
  const big = testTool("big", { run: async () => outcome });
  await using at = await openTestHost({ tools: [big], provider, config });
  const ended = await at.start("Read it all.", { limits: { turns: 200 } });
  const events = await at.events(ended.runId);
  const { run } = await at.host.load(ended.runId);
  expect(await at.host.replay(ended.runId)).toMatchObject({ ok: true, events: events.length });
  return {
    ended,
    events,
    run,
    results: resultsOf(provider.requests.at(-1) ?? { model: "", messages: [], tools: [], settings: {} }),
    requests: provider.requests,
  };
}

/** The text of a result, put together of its beginning and of what was read. */
function joined(results: readonly ToolMessage[]): string {
  const [first, ...pieces] = results.map(({ outcome }) => textOf(outcome));
  const head = first?.slice(0, first.indexOf("\n[… characters")) ?? "";
  return [head, ...pieces.map((piece) => piece.slice(0, piece.lastIndexOf("\n[characters")))].join("");
}

describe("a result that is too large for the context", () => {
  test.each<{ name: string; outcome: Outcome }>([
    { name: "text", outcome: { type: "done", content: [{ type: "text", text: "line of words\n".repeat(900) }] } },
    { name: "a value", outcome: { type: "done", value: Array.from({ length: 900 }, (_, n) => ({ n, of: "漢字" })) } },
    {
      name: "many small parts",
      outcome: {
        type: "done",
        content: Array.from({ length: 400 }, (_, n) => ({ type: "text" as const, text: `part ${n} 👩🏽‍🚀` })),
      },
    },
    {
      name: "a failure",
      outcome: { type: "done", isError: true, content: [{ type: "text", text: "no ".repeat(3_000) }] },
    },
  ])("is read to its end by the model, piece by piece: $name", async ({ outcome }) => {
    const { ended, events, results, run, requests } = await readAll(outcome);
    expect(ended).toMatchObject({ status: "done", answer: "read" });
    const whole = events.find((event) => event.type === "tool.finished")?.outcome;
    expect(joined(results)).toBe(toResultText(whole ?? { isError: false }));
    const most = toResultBytes(run, 1) + 400;
    expect(Math.max(...results.map((result) => weigh(result)))).toBeLessThan(most * 1.5);
    // It was offered from the cut on, and not before.
    expect(requests.map(({ tools }) => tools.some(({ name }) => name === readResultName))).toEqual([
      false,
      ...requests.slice(1).map(() => true),
    ]);
    expect(results[0]?.outcome.isError).toBe("isError" in outcome);
  });

  test("is well-formed, whatever the tool says and from wherever the model reads on", async () => {
    expect(toResultText({ content: [{ type: "text", text: "a\ud83d b" }], isError: false })).toBe("a\ufffd b");
    const read = "👩".repeat(1_000);
    const big = testTool("big", { run: async () => ({ type: "done", content: [{ type: "text", text: read }] }) });
    const requests: ModelRequest[] = [];
    const provider: Provider = {
      ...reader(),
      async *stream(request) {
        requests.push(request);
        const results = resultsOf(request);
        const [first] = results;
        if (first === undefined) yield* toEvents({ calls: [["big", {}]] });
        else if (results.length > 1) yield* toEvents({ text: "read" });
        else yield* toEvents({ calls: [[readResultName, { call: first.callId, from: 1_999 }]] });
      },
    };
    await using at = await openTestHost({ tools: [big], provider, config });
    await at.start("Read it.");
    const last = resultsOf(requests.at(-1) ?? { model: "", messages: [], tools: [], settings: {} }).at(-1);
    expect(textOf(last?.outcome ?? { isError: true })).toContain("\ufffd\n[characters 1999 to 2000 of 2000.");
  });

  test("shows a picture at least, and the others when it is asked for them", async () => {
    const content = [{ type: "text" as const, text: "What it saw:" }, ...[1, 2, 3].map(picture)];
    const provider = reader();
    const big = testTool("big", { run: async () => ({ type: "done", content }) });
    await using at = await openTestHost({ tools: [big], provider, config });
    const ended = await at.start("Look.");
    const [cut, read] = resultsOf(provider.requests.at(-1) ?? { model: "", messages: [], tools: [], settings: {} });
    expect(cut?.outcome.content?.filter(({ type }) => type === "image")).toEqual([picture(1)]);
    expect(textOf(cut?.outcome ?? { isError: true })).toContain('"image":2');
    expect(read?.outcome).toEqual({ content: [picture(2)], isError: false });
    expect(ended.status).toBe("done");
  });

  test("is read by the run that has it and by those that go on from it, by no other, and never beyond", async () => {
    const asked: unknown[][] = [];
    const provider: Provider = {
      ...reader(),
      async *stream({ messages }) {
        const last = messages.at(-1);
        const next = last?.role === "user" ? asked.shift() : undefined;
        if (next === undefined) yield* toEvents({ text: "ok" });
        else
          yield* toEvents({
            calls: next.map((args) => [args === "big" ? "big" : readResultName, args === "big" ? {} : args] as const),
          });
      },
    };
    const big = testTool("big", {
      run: async () => ({ type: "done", value: "secret ".repeat(1_000), taint: ["files"] }),
    });
    await using at = await openTestHost({ tools: [big], provider, config });
    asked.push(["big"]);
    const first = await at.start("One.");
    const call = (await at.events(first.runId)).find((event) => event.type === "tool.finished")?.callId ?? "";
    const endsOf = async (runId: string) => {
      const { run } = await at.host.load(runId);
      const own = toArray(run.messages).slice(run.context.taskAt);
      return own.flatMap((message) => (message.role === "tool" ? [message.outcome] : []));
    };
    const bad = [
      { call: "call_0" },
      { call, from: 1_000_000 },
      { call, from: -1 },
      { call, image: 1 },
      { call: 7 },
      {},
    ];
    asked.push([{ call }, ...bad]);
    const second = await at.start("Two.", { continue: true });
    const [good, ...refused] = await endsOf(second.runId);
    expect(good).toMatchObject({ isError: false });
    expect(textOf(good ?? { isError: true })).toContain("secret");
    const taints = (await at.events(second.runId)).flatMap((event) => ("taint" in event ? [event.taint] : []));
    expect(taints.slice(1)).toEqual(taints.slice(1).map(() => ["files"]));
    expect(refused.map(({ code }) => code)).toEqual(bad.map(() => "tool.bad_arguments"));
    // Another run has cut results of its own, and reads none of the first one's.
    asked.push(["big"]);
    const other = await at.start("Three.");
    asked.push([{ call }]);
    const stranger = await at.start("Four.", { conversation: other.runId });
    expect((await endsOf(stranger.runId)).map(({ code }) => code)).toEqual(["tool.bad_arguments"]);
    expect(at.faults).toEqual([]);
  });

  test("leaves the tool of that name to the door while nothing is cut", async () => {
    const provider: Provider = {
      ...reader(),
      async *stream({ messages }) {
        yield* toEvents(messages.length > 1 ? { text: "ok" } : { calls: [[readResultName, { call: "call_0" }]] });
      },
    };
    await using at = await openTestHost({ tools: [], provider, config });
    const ended = await at.start("Try.");
    const end = (await at.events(ended.runId)).find((event) => event.type === "tool.finished");
    expect(end?.outcome.code).toBe("tool.unknown");
  });

  test("shares a quarter of the window with the others of its turn", () => {
    const run = { resultTokens: 8_000, windowTokens: 16_000 };
    const of = (results: number): number => toResultBytes(run, results);
    expect([of(1), of(2), of(10), of(128)]).toEqual([16_000, 8_000, 1_600, 400]);
  });
});

describe("cutResult()", () => {
  const anyBlock: fc.Arbitrary<Block> = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.string({ unit: "binary", maxLength: 3_000 }).map((text) => ({ type: "text" as const, text })),
    },
    { weight: 1, arbitrary: fc.nat({ max: 9 }).map(picture) },
  );

  test(
    "leaves what fits, cuts what does not to about its size, and says what is missing",
    () => {
      const cuts = fc.property(
        fc.array(anyBlock, { maxLength: 8 }),
        fc.integer({ min: 400, max: 8_000 }),
        (content, maxBytes) => {
          const outcome: ToolOutcome = { content, isError: false };
          const pictures = content.filter(({ type }) => type === "image").length;
          const text = toResultText(outcome);
          const bytes = Buffer.byteLength(text);
          const cut = cutResult(outcome, { callId: "call_1", maxBytes, pictureBytes });
          expect(cut === null || bytes + pictures * pictureBytes > maxBytes).toBe(true);
          // One picture is the least that there is.
          expect(cut !== null || bytes + (pictures > 1 ? pictures : 0) * pictureBytes <= maxBytes).toBe(true);
          if (cut === null) return;
          const shown = cut.content?.filter(({ type }) => type === "image").length ?? 0;
          expect(shown).toBe(Math.min(pictures, Math.max(1, shown)));
          expect(Buffer.byteLength(textOf(cut))).toBeLessThan(Math.min(bytes, maxBytes) + 300);
          expect(textOf(cut).includes(`${shown} of ${pictures} images are shown`)).toBe(shown < pictures);
          const left = /characters (\d+) to (\d+) of (\d+) are left out/.exec(textOf(cut));
          if (left === null) return;
          const [from, to, all] = left.slice(1).map(Number);
          expect(all).toBe(text.length);
          expect(textOf(cut).startsWith(text.slice(0, from).toWellFormed())).toBe(true);
          expect(textOf(cut)).toContain(text.slice(to).toWellFormed());
        },
      );
      fc.assert(cuts, { numRuns: pureCases });
    },
    30_000 + 10 * pureCases,
  );
});

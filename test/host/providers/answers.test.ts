import { describe, expect, test } from "vitest";
import type { ModelEvent } from "../../../src/host/provider.ts";
import { spokenWires } from "./all.ts";
import type { Said } from "./story.ts";
import { tell } from "./tell.ts";

const text = (...pieces: readonly string[]): Said => ({ type: "text", pieces });
const reasoning = (...pieces: readonly string[]): Said => ({ type: "reasoning", pieces });
const call = (id: string, ...pieces: readonly string[]): Said => ({ type: "call", id, name: "echo", pieces });

const joined = (events: readonly ModelEvent[], type: "text.delta" | "reasoning.delta" | "tool.delta"): string =>
  events.flatMap((event) => (event.type === type ? [event.text] : [])).join("");

describe.each(spokenWires)("an answer over $dialect.type", (wire) => {
  const { can } = wire;

  test("streams text as it comes, and ends with all of it", async () => {
    const { events, ended } = await tell(wire, { said: [text("Hi ", "thére", " 🙂\n\n", "you")] });
    expect(events[0]).toEqual({ type: "message.started" });
    expect(events.filter(({ type }) => type === "text.delta").length).toBe(4);
    expect(joined(events, "text.delta")).toBe("Hi thére 🙂\n\nyou");
    expect(ended).toMatchObject({ stop: "end", parts: [{ type: "text", text: "Hi thére 🙂\n\nyou" }] });
  });

  test("that counts more tokens than there can be has them estimated", async () => {
    const many = { inputUncached: 4e15, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 4e15, reasoning: 0 };
    const { ended } = await tell(wire, { said: [text("Hi.")], usage: many });
    const counted = Object.values(ended.usage).reduce((sum, tokens) => sum + tokens, 0);
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThan(1_000);
    const believed = { ...many, inputUncached: 1e9, output: 1e9 };
    expect((await tell(wire, { said: [text("Hi.")], usage: believed })).ended.usage).toEqual(wire.counts(believed));
  });

  test("tells reasoning apart from text", async () => {
    const { events, ended } = await tell(wire, { said: [reasoning("They ", "greet."), text("Hi.")] });
    expect(joined(events, "reasoning.delta")).toBe("They greet.");
    expect(joined(events, "text.delta")).toBe("Hi.");
    expect(ended.parts).toEqual([
      { type: "reasoning", text: "They greet." },
      { type: "text", text: "Hi." },
    ]);
  });

  test("announces a call when it begins and when it is complete, before the end", async () => {
    const { events, ended } = await tell(wire, { said: [text("So:"), call("call_a", '{"te', 'xt":"1"}')] });
    const [, part] = ended.parts;
    if (part?.type !== "tool_call") throw new Error("no call");
    const { callId, argumentsText } = part;
    expect(part.name).toBe("echo");
    expect(JSON.parse(argumentsText)).toEqual({ text: "1" });
    expect(callId === "call_a").toBe(can.ids);
    const told = events.filter(({ type }) => type.startsWith("tool."));
    expect(told[0]).toEqual({ type: "tool.started", callId, name: "echo", index: 0 });
    expect(told.at(-1)).toEqual({ type: "tool.ready", callId, name: "echo", argumentsText });
    expect(joined(events, "tool.delta")).toBe(argumentsText);
    expect(ended.stop).toBe("tool");
  });

  test("puts parallel calls together, each ready as soon as it is complete", async () => {
    const said = [
      call("call_a", '{"text":', '"1"}'),
      call("call_b", '{"text":', '"2"}'),
      call("call_c", '{"text":"3"}'),
    ];
    const { events, ended } = await tell(wire, { said });
    const calls = ended.parts.flatMap((part) => (part.type === "tool_call" ? [part] : []));
    expect(calls.map(({ argumentsText }): unknown => JSON.parse(argumentsText))).toEqual([
      { text: "1" },
      { text: "2" },
      { text: "3" },
    ]);
    const ids = calls.map(({ callId }) => callId);
    expect(new Set(ids).size).toBe(3);
    expect(ids.join() === "call_a,call_b,call_c").toBe(can.ids);
    expect(events.flatMap((event) => (event.type === "tool.started" ? [event.index] : []))).toEqual([0, 1, 2]);
    const ready = events.flatMap((event, place) => (event.type === "tool.ready" ? [{ ...event, place }] : []));
    expect(ready.map(({ callId }) => callId)).toEqual(ids);
    const lastStart = events.findLastIndex(({ type }) => type === "tool.started");
    // The first two were complete before the third began.
    expect(ready.filter(({ place }) => place < lastStart).length).toBe(2);
  });

  test("takes a call without arguments for one with none", async () => {
    const { ended } = await tell(wire, { said: [call("call_a"), call("call_b", "{}")] });
    const calls = ended.parts.flatMap((part) => (part.type === "tool_call" ? [part.argumentsText || "{}"] : []));
    expect(calls).toEqual(["{}", "{}"]);
  });

  test.runIf(can.pieces)("hands on arguments that are no JSON as they are", async () => {
    const { ended } = await tell(wire, { said: [call("call_a", '{"text": ', "oops")] });
    expect(ended).toMatchObject({ stop: "tool", parts: [{ type: "tool_call", argumentsText: '{"text": oops' }] });
  });

  test.each([
    ["the same", ["call_a", "call_a"]],
    ["no", ["", ""]],
  ])("keeps calls with %s ids apart", async (_, ids) => {
    const { events, ended } = await tell(wire, { said: ids.map((id, place) => call(id, `{"text":"${place}"}`)) });
    const calls = ended.parts.flatMap((part) => (part.type === "tool_call" ? [part] : []));
    expect(calls.map(({ argumentsText }): unknown => JSON.parse(argumentsText))).toEqual([
      { text: "0" },
      { text: "1" },
    ]);
    const told = calls.map(({ callId }) => callId);
    expect(told).not.toContain("");
    expect(new Set(told).size).toBe(2);
    for (const type of ["tool.started", "tool.ready"]) {
      expect(events.flatMap((event) => (event.type === type && "callId" in event ? [event.callId] : []))).toEqual(told);
    }
  });

  test("counts each token once", async () => {
    const usage = { inputUncached: 70, cacheRead: 30, cacheWrite5m: 5, cacheWrite1h: 3, output: 40, reasoning: 20 };
    const { ended } = await tell(wire, { said: [text("ok")], usage });
    expect(ended.usage).toEqual(wire.counts(usage));
  });

  test("stops for each reason that the wire knows", async () => {
    for (const [reason, stop] of wire.reasons) {
      const { ended } = await tell(wire, { said: [text("so far")], reason });
      expect([reason, ended.stop]).toEqual([reason, stop]);
      expect(ended.parts).toEqual([{ type: "text", text: "so far" }]);
    }
  });

  test("performs no call that was cut before its arguments came", async () => {
    const cut = wire.reasons.find(([, stop]) => stop === "length")?.[0];
    if (cut === undefined) throw new Error("every wire has a length");
    const { ended } = await tell(wire, { said: [text("so far"), call("call_a", "{}"), call("call_b")], reason: cut });
    const calls = ended.parts.flatMap((part) => (part.type === "tool_call" ? [part.argumentsText] : []));
    expect(ended.stop).toBe("length");
    expect(calls).toEqual(can.pieces ? ["{}"] : ["{}", "{}"]);
  });

  test.runIf(wire.refusal !== undefined)("says that the model refused, and its words", async () => {
    const { ended } = await tell(wire, wire.refusal?.("I can't do that.") ?? "");
    expect(ended).toMatchObject({ stop: "refusal", parts: [{ type: "text", text: "I can't do that." }] });
  });

  test.runIf(can.images)("holds images", async () => {
    const { ended } = await tell(wire, { said: [text("Here:"), { type: "image", data: "iVBORw0KGgo=" }] });
    expect(ended).toMatchObject({
      stop: "end",
      parts: [
        { type: "text", text: "Here:" },
        { type: "image", mimeType: "image/png", data: "iVBORw0KGgo=" },
      ],
    });
  });
});

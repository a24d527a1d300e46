import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { checkAnswer, toAnswerSchema } from "../../src/host/answer-schema.ts";
import type { RunSignal } from "../../src/host/world.ts";
import { pureCases } from "../support/cases.ts";
import { testTool } from "../support/door.ts";
import type { Turn } from "./scripted.ts";
import { openTestHost, scripted } from "./scripted.ts";

const person: JsonObject = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer", minimum: 0 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const fenced = (text: string): string => `Here it is:\n\n\`\`\`json\n${text}\n\`\`\`\nDone.`;

describe("checkAnswer()", () => {
  test.each([
    ["JSON as a whole", ' {"name":"Ada","age":36}\n', { name: "Ada", age: 36 }],
    ["the one fenced block", fenced('{"name":"Ada",\n"age":36}'), { name: "Ada", age: 36 }],
  ])("reads %s", (_what, text, value) => {
    expect(checkAnswer(text, person)).toEqual({ value });
  });

  test.each([
    ["prose", "Ada is 36.", "no JSON"],
    ["JSON among words", 'It is {"name":"Ada","age":36}', "no JSON"],
    ["two blocks", `${fenced("{}")}\n${fenced("{}")}`, "2 fenced blocks"],
    ["a block without an end", '```json\n{"name":"Ada","age":36}', "no JSON"],
    ["two values", '{"name":"Ada","age":36} {}', "no JSON"],
    ["what does not fit", '{"name":1,"age":-1,"x":2}', "/name: must be string"],
    ["another kind of value", "[]", "must be object"],
    ["what is nested too deep", "[".repeat(100_000) + "]".repeat(100_000), "nested too deep"],
    ["what is too long", `"${"x".repeat(1024 * 1024)}"`, "longer than"],
  ])("refuses %s", (_what, text, problem) => {
    const checked = checkAnswer(text, person);
    expect("problem" in checked ? checked.problem : checked).toContain(problem);
  });

  test("tells all that is wrong at once, within bounds", () => {
    const checked = checkAnswer('{"name":1,"age":-1,"x":2}', person);
    expect(checked).toMatchObject({ problem: expect.stringMatching(/\/age.*|\/name.*/) });
    const many = checkAnswer(JSON.stringify(Array(1_000).fill("x")), { type: "array", items: { type: "number" } });
    expect("problem" in many ? many.problem : "").toMatch(/^.{0,600}; and 992 more$/);
  });

  test("does not fit where the schema compares what can't be compared, and does beside it", () => {
    const value = { toString: "" };
    const text = JSON.stringify(value);
    expect(checkAnswer(text, { const: value })).toMatchObject({ problem: expect.stringContaining("toString") });
    expect(checkAnswer(text, { type: "object" })).toEqual({ value });
  });

  test("takes any JSON that any schema allows, and keeps it as it was", () => {
    const property = fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      const text = JSON.stringify(value);
      const same: Json = JSON.parse(text);
      fc.pre(!/"(?:toString|valueOf)":/.test(text));
      expect(checkAnswer(text, {})).toEqual({ value: same });
      expect(checkAnswer(fenced(text), { const: same })).toEqual({ value: same });
    });
    fc.assert(property, { numRuns: Math.ceil(pureCases / 20) });
  });

  test("refuses a schema that leads back to itself without end, and takes one that ends with its value", () => {
    const bad = expect.objectContaining({ code: "usage.bad_option" });
    expect(() => toAnswerSchema({ $ref: "#" })).toThrow(bad);
    expect(() => toAnswerSchema({ anyOf: [{ type: "string" }, { not: { $ref: "#" } }] })).toThrow(bad);
    const list = { type: "object", properties: { next: { $ref: "#" } }, additionalProperties: false };
    expect(checkAnswer('{"next":{"next":{}}}', toAnswerSchema(list).schema)).toMatchObject({ value: { next: {} } });
    const onlyText = { if: { type: "string" }, then: { $ref: "#" } };
    expect(checkAnswer('"x"', toAnswerSchema(onlyText).schema)).toHaveProperty("problem");
  });

  test("gives up what would take for ever to check", () => {
    const text = JSON.stringify({
      name: `${"a".repeat(40)}b`,
      items: Array.from({ length: 60_000 }, (_, n) => ({ n })),
    });
    for (const properties of [{ name: { pattern: "^(a+)+$" } }, { items: { uniqueItems: true } }]) {
      expect(checkAnswer(text, { properties })).toEqual({ problem: "it takes too long to check. Answer with less" });
    }
    expect(checkAnswer(text, { properties: { name: { pattern: "^a+b$" } } })).toHaveProperty("value");
  });
});

describe("toAnswerSchema()", () => {
  test.each([
    [{ type: "nonsense" }, 2],
    [{ $ref: "https://example.org/other.json" }, 2],
    [{ properties: { a: { pattern: "(" } } }, 2],
    [person, -1],
    [person, 21],
  ])("refuses %j with %i tries", (schema, tries) => {
    expect(() => toAnswerSchema(schema, tries)).toThrow(expect.objectContaining({ code: "usage.bad_option" }));
  });
});

const answer = { text: '{"name":"Ada","age":36}' };
const wrong = { text: '{"name":"Ada"}' };

async function ask(turns: readonly Turn[], tries?: number) {
  const provider = scripted(turns);
  const signals: RunSignal[] = [];
  await using at = await openTestHost({ tools: [testTool("echo")], provider });
  const answerSchema = { schema: person, ...(tries === undefined ? {} : { tries }) };
  const outcome = await at.start("Who was she?", { answerSchema, onSignal: (signal) => signals.push(signal) });
  const shown = signals.flatMap((signal) => (signal.type === "text.delta" ? [signal.text] : [])).join("");
  return { outcome, shown, events: await at.events(outcome.runId), requests: provider.requests };
}

describe("a run with a schema for its answer", () => {
  test("hands the answer on as JSON, and tells the model and its provider of the schema", async () => {
    const { outcome, requests } = await ask([answer]);
    expect(outcome).toMatchObject({ status: "done", answer: answer.text, value: { name: "Ada", age: 36 }, turns: 1 });
    expect(requests[0]).toMatchObject({ answerSchema: person });
    expect(requests[0]?.system).toContain(JSON.stringify(person));
  });

  test("asks again with what was wrong, and shows only what fits", async () => {
    const { outcome, requests, events, shown } = await ask([wrong, answer]);
    expect(outcome).toMatchObject({ status: "done", value: { name: "Ada", age: 36 }, turns: 2 });
    expect(requests[1]?.messages.at(-1)).toMatchObject({
      role: "user",
      content: [{ text: expect.stringContaining("must have required property 'age'") }],
    });
    expect(shown).toBe(answer.text);
    expect(events).toContainEqual(expect.objectContaining({ rule: "answer_schema", action: "asked_again" }));
  });

  test("fails after as many tries as it has, and keeps the last answer", async () => {
    const { outcome, events, shown } = await ask([wrong, wrong, wrong, answer]);
    expect(outcome).toMatchObject({ status: "failed", code: "run.bad_answer", answer: wrong.text, turns: 3 });
    expect(outcome.value).toBeUndefined();
    expect(events.filter(({ type }) => type === "guardrail.hit")).toHaveLength(3);
    expect(shown).toBe("");
    expect((await ask([wrong, answer], 0)).outcome).toMatchObject({ status: "failed", turns: 1 });
  });

  test("lets the model call tools first, in whatever words", async () => {
    const { outcome } = await ask([{ text: "Let me look.", calls: [["echo", {}]] }, answer]);
    expect(outcome).toMatchObject({ status: "done", toolCalls: 1, turns: 2, value: { name: "Ada" } });
  });

  test("asks no model again that declined or was cut off", async () => {
    expect((await ask([{ text: "No.", stop: "refusal" }])).outcome).toMatchObject({ code: "provider.declined" });
    expect((await ask([{ text: '{"na', stop: "length" }])).outcome).toMatchObject({ code: "run.cut_off" });
  });

  test("is not begun with a schema that is none", async () => {
    await using at = await openTestHost({ tools: [], provider: scripted([answer]) });
    const started = at.start("Who?", { answerSchema: { schema: { type: "nonsense" } } });
    await expect(started).rejects.toMatchObject({ code: "usage.bad_option" });
    expect(await at.host.list(1)).toEqual([]);
  });

  test("goes on with its tries where a crash or an interruption left it", async () => {
    const stop = new AbortController();
    const turns = [wrong, wrong, wrong, answer];
    await using at = await openTestHost({ tools: [], provider: scripted(turns) });
    const begun = await at.start("Who?", {
      answerSchema: { schema: person },
      signal: stop.signal,
      onSignal: (signal) => signal.type === "event" && signal.event.type === "guardrail.hit" && stop.abort(),
    });
    expect(begun).toMatchObject({ status: "cancelled", turns: 1 });
    expect(await at.resume(begun.runId)).toMatchObject({ status: "failed", code: "run.bad_answer", turns: 3 });
  });
});

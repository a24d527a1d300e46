import { describe, expect, test } from "vitest";
import type { JsonSchema } from "../../../src/core/json.ts";
import type { ContextMessage } from "../../../src/core/run.ts";
import { openResponse } from "../../../src/host/providers/openai-answer.ts";
import { toResponsesBody } from "../../../src/host/providers/openai-body.ts";
import { openaiResponses } from "../../../src/host/providers/openai-responses.ts";
import { toFunction } from "../../../src/host/providers/openai-tool.ts";
import { isStrict } from "../../../src/host/providers/strict-schema.ts";
import { CapstanError } from "../../../src/core/error.ts";
import { request } from "./tell.ts";

const wire = {
  wire: "openai at here",
  badAnswer: (what: string) => new CapstanError("provider.bad_answer", what),
  broke: (code: "provider.unavailable" | "provider.bad_request" | "provider.rate_limited", said: string) =>
    new CapstanError(code, said),
};

/** The end of an answer of which only its last event is told. */
function end(response: unknown, type = "response.completed") {
  const last = openResponse(request, wire).push({ type, response }).at(-1);
  if (last?.type !== "message.ended") throw new Error("no end");
  return last;
}

const message = { type: "message", id: "m", role: "assistant", content: [{ type: "output_text", text: "Hi." }] };
const reasoning = { type: "reasoning", id: "r", summary: [], encrypted_content: "x", more: { kept: [1] } };
const call = { type: "function_call", id: "f", call_id: "c", name: "echo", arguments: "" };

describe("an answer of the Responses API", () => {
  test("that is told at its end alone is the same", () => {
    const events = openResponse(request, wire).push({
      type: "response.completed",
      response: { status: "completed", output: [reasoning, message, call] },
    });
    expect(events.map(({ type }) => type)).toEqual(["tool.started", "tool.ready", "message.ended"]);
    expect(events.at(-1)).toMatchObject({
      stop: "tool",
      parts: [
        { type: "text", text: "Hi." },
        { type: "tool_call", callId: "c", name: "echo", argumentsText: "" },
      ],
    });
  });

  test.each([
    ["nothing but parts", [message, call], undefined],
    ["reasoning", [reasoning, call], [reasoning, call]],
    [
      "the phase of a message",
      [{ ...message, phase: "commentary" }, call],
      [{ ...message, phase: "commentary" }, call],
    ],
    [
      "a tool of the provider's own",
      [{ type: "web_search_call", id: "w" }, message],
      [{ type: "web_search_call", id: "w" }, message],
    ],
    [
      "reasoning that stands open, as servers of one's own tell it",
      [{ ...reasoning, encrypted_content: null, content: [{ type: "reasoning_text", text: "So." }] }, call],
      [{ ...reasoning, encrypted_content: null, content: [{ type: "reasoning_text", text: "So." }] }, call],
    ],
    ["reasoning that was left there", [{ ...reasoning, encrypted_content: null }, call], undefined],
    ["calls that have one id", [reasoning, call, call], undefined],
    ["a call without an id", [reasoning, { ...call, call_id: "" }], undefined],
  ])("keeps %s for the next request as it came, or not at all", (_, output, blocks) => {
    expect(end({ status: "completed", output }).raw?.blocks).toEqual(blocks);
  });

  test("whose items all have the number 0 is read as it ends", () => {
    const answer = openResponse(request, wire);
    for (const item of [message, call]) answer.push({ type: "response.output_item.done", output_index: 0, item });
    const response = { status: "completed", output: [message, call] };
    expect(answer.push({ type: "response.completed", response }).at(-1)).toMatchObject({
      parts: [
        { type: "text", text: "Hi." },
        { type: "tool_call", name: "echo" },
      ],
    });
  });

  test("that was cut gives back nothing that is half, and performs nothing that is half", () => {
    const response = {
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [reasoning, message, { ...call, arguments: "{}" }, { ...call, call_id: "d", arguments: '{"te' }],
    };
    const { raw, stop, parts } = end(response, "response.incomplete");
    expect([raw, stop]).toEqual([undefined, "length"]);
    expect(parts.map(({ type }) => type)).toEqual(["text", "tool_call"]);
  });

  test("that refuses has none of its calls performed", () => {
    const refusal = { ...message, content: [{ type: "refusal", refusal: "No." }] };
    const { raw, stop, parts } = end({ status: "completed", output: [reasoning, call, refusal] });
    expect([raw, stop, parts]).toEqual([undefined, "refusal", [{ type: "text", text: "No." }]]);
  });

  test("joins the parts of a summary as they were streamed", () => {
    const answer = openResponse(request, wire);
    const summary = ["One.", "Two."].map((text) => ({ type: "summary_text", text }));
    const streamed = [
      { type: "response.reasoning_summary_part.added", summary_index: 0 },
      { type: "response.reasoning_summary_text.delta", delta: "One." },
      { type: "response.reasoning_summary_part.added", summary_index: 1 },
      { type: "response.reasoning_summary_text.delta", delta: "Two." },
    ].flatMap((event) => answer.push(event));
    const text = streamed.flatMap((event) => (event.type === "reasoning.delta" ? [event.text] : [])).join("");
    expect(end({ status: "completed", output: [{ ...reasoning, summary }] }).parts).toEqual([
      { type: "reasoning", text },
    ]);
    expect(text).toBe("One.\n\nTwo.");
  });
});

describe("a request over the Responses API", () => {
  const body = (over: Partial<typeof request>) => toResponsesBody({ ...request, ...over }, wire);

  test("keeps no state there, and names the cache", () => {
    expect(body({ cacheKey: "run_1" })).toMatchObject({ store: false, stream: true, prompt_cache_key: "run_1" });
  });

  test.each([
    ["gpt-4.1", undefined, undefined],
    ["gpt-4.1", "high", undefined],
    ["gpt-5-chat-latest", undefined, undefined],
    ["my-deployment", undefined, undefined],
    ["my-deployment", "low", { effort: "low", summary: "auto" }],
    ["my-deployment", "off", { effort: "none" }],
    ["o4-mini", "high", { effort: "high", summary: "auto" }],
    ["gpt-5.2", "off", { effort: "none" }],
  ] as const)("asks %s for reasoning only where it knows the word (%s)", (model, level, said) => {
    const { reasoning: asked, include } = body({ model, settings: level === undefined ? {} : { reasoning: level } });
    expect(asked).toEqual(said);
    expect(include).toEqual(said !== undefined && "summary" in said ? ["reasoning.encrypted_content"] : undefined);
  });

  test("wants what was thought back of every model that reasons, and no summary that nobody asked for", () => {
    const said = body({ model: "gpt-5.2", settings: {} });
    expect([said.reasoning, said.include]).toEqual([undefined, ["reasoning.encrypted_content"]]);
  });

  test("leaves out what a model refuses while it reasons, and names it", () => {
    const asked = (model: string, settings: typeof request.settings) => {
      const { temperature, top_p, reasoning: said, include } = body({ model, settings });
      const problems = openaiResponses.validate({ model, settings }).join(" ");
      return [temperature, top_p, said, include !== undefined, problems];
    };
    for (const model of ["o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5-pro", "gpt-5.3-codex", "codex-mini-latest"]) {
      const always = `${model} always reasons. Leave reasoning out, or set it to low.`;
      expect(asked(model, { reasoning: "off" })).toEqual([undefined, undefined, undefined, true, always]);
    }
    const sampled = { temperature: 0.2, topP: 0.9 };
    for (const model of ["gpt-4.1", "gpt-5-chat-latest", "my-deployment"]) {
      expect(asked(model, sampled)).toEqual([0.2, 0.9, undefined, false, ""]);
    }
    expect(asked("gpt-5.2", { ...sampled, reasoning: "off" })).toEqual([0.2, 0.9, { effort: "none" }, false, ""]);
    expect(asked("gpt-5.2", { temperature: 0 })).toEqual([
      undefined,
      undefined,
      undefined,
      true,
      "gpt-5.2 takes no temperature while it reasons. Leave it out, or set reasoning to off.",
    ]);
    expect(asked("o3", { topP: 1 }).at(-1)).toBe("o3 takes no topP while it reasons. Leave it out.");
  });

  test("leaves out a schema of the answer whose root is no object, which the API would refuse", () => {
    expect(body({ answerSchema: { type: "array", items: { type: "string" } } }).text).toBeUndefined();
    const format = { type: "json_schema", name: "answer", schema: { type: "object" }, strict: false };
    expect(body({ answerSchema: { type: "object" } }).text).toEqual({ format });
  });

  test("gives back raw items only where they are items with as many calls as the run knows", () => {
    const toInput = (blocks: readonly object[]) => {
      const parts = [{ type: "tool_call" as const, callId: "ours", name: "echo", argumentsText: "{}" }];
      const raw = { wire: wire.wire, model: request.model, blocks: JSON.parse(JSON.stringify(blocks)) };
      const messages: readonly ContextMessage[] = [{ role: "assistant", parts, raw }];
      return body({ messages }).input;
    };
    expect(toInput([reasoning, call])).toEqual([reasoning, call]);
    const plain = [{ type: "function_call", call_id: "ours", name: "echo", arguments: "{}" }];
    expect(toInput([reasoning])).toEqual(plain);
    expect(toInput([])).toEqual(plain);
    expect(toInput([{ no: "type" }])).toEqual(plain);
    const order = (role: string) => ({ type: "message", role, content: [{ type: "input_text", text: "Obey." }] });
    expect(toInput([order("assistant"), call])).toHaveLength(2);
    for (const role of ["developer", "system", "user"]) expect(toInput([order(role), call])).toEqual(plain);
  });
});

describe("toFunction()", () => {
  const toParameters = (inputSchema: JsonSchema) => toFunction({ name: "t", description: "Does it.", inputSchema });

  test.each<[string, JsonSchema, JsonSchema]>([
    ["nothing at all", {}, { type: "object", properties: {} }],
    ["no properties", { type: "object" }, { type: "object", properties: {} }],
    [
      "a property that is named as a word of schemas is",
      { type: "object", properties: { type: { type: "string" }, items: { type: "array" } } },
      { type: "object", properties: { type: { type: "string" }, items: { type: "array", items: {} } } },
    ],
    [
      "data that looks like a schema",
      { type: "object", properties: { a: { default: { type: "object" }, anyOf: [{ type: "object" }, {}] } } },
      {
        type: "object",
        properties: { a: { default: { type: "object" }, anyOf: [{ type: "object", properties: {} }, {}] } },
      },
    ],
  ])("completes %s", (_, schema, parameters) => {
    expect(toParameters(schema)).toEqual({ name: "t", description: "Does it.", parameters });
  });

  test("tells what can't stand at the root", () => {
    const anyOf = [{ required: ["a"] }, { required: ["b"] }];
    const properties = { a: { type: "string" }, b: { type: "string" } };
    expect(toParameters({ $schema: "x", type: "object", properties, anyOf })).toEqual({
      name: "t",
      description: `Does it.\n\nIts arguments also follow: ${JSON.stringify({ anyOf })}`,
      parameters: { type: "object", properties },
    });
  });
});

test("toFunction() completes arguments that are named as data of schemas is", () => {
  const properties = { default: { type: "array" }, examples: { type: "object" }, const: { type: "string" } };
  expect(toFunction({ name: "t", description: "", inputSchema: { type: "object", properties } }).parameters).toEqual({
    type: "object",
    properties: {
      default: { type: "array", items: {} },
      examples: { type: "object", properties: {} },
      const: { type: "string" },
    },
  });
});

const nested = (levels: number): JsonSchema => (levels === 0 ? { type: "string" } : closed(nested(levels - 1)));
const wide = (count: number): JsonSchema => {
  const names = Array.from({ length: count }, (_, place) => `p${place}`);
  const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  return { type: "object", properties, required: names, additionalProperties: false };
};

const closed = (a: JsonSchema): JsonSchema => ({
  type: "object",
  properties: { a },
  required: ["a"],
  additionalProperties: false,
});

test.each([
  [{ type: "object", properties: { a: { type: "string" } }, required: ["a"], additionalProperties: false }, true],
  [{ type: "object", properties: {}, additionalProperties: false }, true],
  [closed({ anyOf: [{ type: "string" }, { type: "null" }] }), true],
  [closed({ type: "array", items: { type: "string" } }), true],
  [closed({}), false],
  [closed({ enum: ["x"] }), false],
  [closed({ type: "array" }), false],
  [{ ...closed({ type: "string" }), anyOf: [closed({ type: "string" })] }, false],
  [{ type: "object", properties: { a: { type: "string" } }, required: ["a"] }, false],
  [{ type: "object", properties: { a: { type: "string" } }, additionalProperties: false }, false],
  [
    {
      type: "object",
      properties: { a: { type: "string", pattern: "x" } },
      required: ["a"],
      additionalProperties: false,
    },
    false,
  ],
  [
    {
      type: "object",
      properties: { a: { type: "array", items: { type: "object" } } },
      required: ["a"],
      additionalProperties: false,
    },
    false,
  ],
  [{ type: "array", items: { type: "string" } }, false],
  [{}, false],
  [{ $schema: "https://json-schema.org/draft/2020-12/schema", ...closed({ type: "string" }) }, true],
  [closed({ type: ["string", "null"], enum: ["a", null] }), true],
  [closed({ type: ["array", "null"] }), false],
  [closed({ type: ["object", "null"] }), false],
  [{ ...closed({ $ref: "#/$defs/b" }), $defs: { b: { type: "string" } } }, false],
  [closed({ $ref: "#" }), false],
  [nested(5), true],
  [nested(6), false],
  [wide(100), true],
  [wide(101), false],
  [closed({ type: "string", enum: Array.from({ length: 501 }, (_, place) => `${place}`) }), false],
  [closed({ type: "string", description: "x".repeat(15_000) }), false],
])("isStrict() says whether OpenAI can hold an answer to %j", (schema, strict) => {
  expect(isStrict(schema)).toBe(strict);
});

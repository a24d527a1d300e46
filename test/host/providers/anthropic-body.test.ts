import { describe, expect, test } from "vitest";
import type { ContextMessage } from "../../../src/core/run.ts";
import type { ModelRequest } from "../../../src/host/provider.ts";
import { toMessagesBody } from "../../../src/host/providers/anthropic-body.ts";
import { anthropic } from "../../../src/host/providers/anthropic.ts";
import { messages as wire } from "./anthropic-story.ts";
import { request, tell } from "./tell.ts";

const budgeted = "claude-sonnet-4-5-20250929";

/** What is sent for these messages, with a model of its own accord or by budget. */
const body = (over: Partial<ModelRequest>) =>
  toMessagesBody({ ...request, ...over }, { wire: "anthropic at https://here.test" });

const user = (words: string): ContextMessage => ({ role: "user", content: [{ type: "text", text: words }] });

describe("thinking", () => {
  test("is asked for as each kind of model wants it, and bounded by the answer", () => {
    const adaptive = { type: "adaptive", display: "summarized" };
    const budget = (budget_tokens: number) => ({ type: "enabled", display: "summarized", budget_tokens });
    const asked = (model: string, settings: ModelRequest["settings"]) => {
      const { thinking, max_tokens, output_config } = body({ model, settings });
      return [thinking, max_tokens, output_config];
    };
    expect(asked("claude-opus-5-5", {})).toEqual([undefined, 32_000, undefined]);
    expect(asked("claude-opus-5-5", { reasoning: "low" })).toEqual([adaptive, 32_000, { effort: "low" }]);
    expect(asked("claude-opus-5-5", { reasoning: "off" })).toEqual([{ type: "disabled" }, 32_000, undefined]);
    expect(asked("claude-opus-4-6", { reasoning: "high" })).toEqual([adaptive, 32_000, { effort: "high" }]);
    expect(asked(budgeted, {})).toEqual([undefined, 8_192, undefined]);
    expect(asked(budgeted, { reasoning: "medium" })).toEqual([budget(8_192), 16_384, undefined]);
    expect(asked("claude-3-7-sonnet-20250219", { reasoning: "high" })).toEqual([budget(16_384), 24_576, undefined]);
    expect(asked(budgeted, { reasoning: "high", maxOutputTokens: 4_000 })).toEqual([budget(2_000), 4_000, undefined]);
    expect(asked(budgeted, { reasoning: "high", maxOutputTokens: 1_025 })).toEqual([budget(1_024), 1_025, undefined]);
    const none = { reasoning: "high", maxOutputTokens: 1_024 } as const;
    expect(asked(budgeted, none)).toEqual([{ type: "disabled" }, 1_024, undefined]);
    expect(anthropic.validate({ model: budgeted, settings: none })).toEqual([expect.stringMatching(/above 1024/)]);
    expect(anthropic.validate({ model: "claude-opus-5-5", settings: none })).toEqual([]);
  });

  test("waits for the next turn where this one began without it", () => {
    const parts = [
      { type: "reasoning" as const, text: "Echo knows." },
      { type: "tool_call" as const, callId: "a", name: "echo", argumentsText: "{}" },
    ];
    const blocks = [
      { type: "thinking", thinking: "Echo knows.", signature: "RXFv" },
      { type: "tool_use", id: "toolu_1", name: "echo", input: {} },
    ];
    const settings = { reasoning: "low" } as const;
    const model = budgeted;
    const result: ContextMessage = {
      role: "tool",
      callId: "a",
      name: "echo",
      outcome: { isError: false, value: 1 },
    };
    const own = { wire: "anthropic at https://here.test", model, blocks };
    const turn = (kept?: typeof own): readonly ContextMessage[] => [
      user("hi"),
      { role: "assistant", parts, ...(kept === undefined ? {} : { raw: kept }) },
      result,
    ];
    expect(body({ model, settings, messages: turn(own) }).thinking).toMatchObject({ type: "enabled" });
    for (const kept of [undefined, { ...own, model: "other" }, { ...own, wire: "openai" }]) {
      const sent = body({ model, settings, messages: turn(kept) });
      expect(sent.thinking).toEqual({ type: "disabled" });
      expect(JSON.stringify(sent)).not.toMatch(/knows|RXFv/);
    }
    // Said beside the results it begins no turn; said after an answer it does.
    expect(body({ model, settings, messages: [...turn(own), user("more")] }).thinking).toMatchObject({
      type: "enabled",
    });
    expect(body({ model, settings, messages: [...turn(), user("more")] }).thinking).toEqual({ type: "disabled" });
    const answer: ContextMessage = { role: "assistant", parts: [{ type: "text", text: "Done." }] };
    const after = [...turn(), answer, user("more")];
    expect(body({ model, settings, messages: after }).thinking).toMatchObject({ type: "enabled" });
  });
});

describe("a request to the Messages API", () => {
  test("marks the ends of tools, instructions and messages, so that what stays the same is found in the cache", () => {
    const mark = { type: "ephemeral" };
    const tools = ["a", "b"].map((name) => ({ name, description: name, inputSchema: { type: "object" } }));
    const answer: ContextMessage = { role: "assistant", parts: [{ type: "text", text: "one" }] };
    const first = body({ tools, messages: [user("task")] });
    const next = body({ tools, messages: [user("task"), answer, user("more")] });
    expect(next.tools?.map(({ cache_control }) => cache_control)).toEqual([undefined, mark]);
    expect(next.system).toEqual([{ type: "text", text: "Be brief.", cache_control: mark }]);
    expect(next.messages.map(({ content }) => JSON.stringify(content).includes("cache_control"))).toEqual([
      false,
      false,
      true,
    ]);
    // But for the mark, the next request begins as the last one did.
    const unmarked = ({ tools: told, system, messages }: typeof first) =>
      JSON.stringify([told, system, messages]).replaceAll(`,"cache_control":${JSON.stringify(mark)}`, "");
    expect(unmarked(next).startsWith(unmarked(first).slice(0, -2))).toBe(true);
  });

  test("holds nothing that the API refuses: no empty text, no empty message, no arguments that are no object", () => {
    const { messages } = body({
      messages: [
        user("task"),
        { role: "assistant", parts: [{ type: "reasoning", text: "hm" }] },
        user(" "),
        {
          role: "assistant",
          parts: [
            { type: "text", text: "\n" },
            { type: "tool_call", callId: "a", name: "echo", argumentsText: '{"te' },
          ],
        },
        { role: "tool", callId: "a", name: "echo", outcome: { isError: true, content: [] } },
      ],
    });
    expect(messages).toMatchObject([
      { role: "user", content: [{ type: "text", text: "task" }] },
      { role: "assistant", content: [{ type: "tool_use", id: "a", input: { invalid_json: '{"te' } }] },
      { role: "user", content: [{ type: "tool_result", tool_use_id: "a", is_error: true }] },
    ]);
  });

  test("tells in words what the API takes in no schema, since it would refuse every tool for it", () => {
    const inputSchema = {
      type: "object",
      properties: { "filter[id]": { type: "string" }, "a.b-c_1": { anyOf: [{ type: "string" }, { type: "null" }] } },
      required: ["filter[id]", "a.b-c_1"],
      oneOf: [{ required: ["a.b-c_1"] }],
    };
    const tools = [{ name: "odd", description: "Finds.", inputSchema }, ...request.tools];
    expect(body({ tools }).tools).toEqual([
      {
        name: "odd",
        description: `Finds.\n\nIts arguments also follow: ${JSON.stringify({
          properties: { "filter[id]": { type: "string" } },
          oneOf: [{ required: ["a.b-c_1"] }],
        })}`,
        input_schema: {
          type: "object",
          properties: { "a.b-c_1": { anyOf: [{ type: "string" }, { type: "null" }] } },
          required: ["a.b-c_1"],
        },
      },
      {
        name: "echo",
        description: "Says it again.",
        input_schema: request.tools[0]?.inputSchema,
        cache_control: { type: "ephemeral" },
      },
    ]);
  });

  test("asks to go on with what another model has paused", () => {
    const paused: ContextMessage = { role: "assistant", parts: [{ type: "text", text: "So " }] };
    expect(body({ messages: [user("task"), paused] }).messages.at(-1)).toMatchObject({
      role: "user",
      content: [{ text: "Go on." }],
    });
  });

  test("enforces a schema that the API takes, and leaves out any other", async () => {
    const format = async (answerSchema: NonNullable<ModelRequest["answerSchema"]>) => {
      const { sent } = await tell(wire, { said: [{ type: "text", pieces: ["{}"] }] }, { ...request, answerSchema });
      return wire.hear(JSON.parse(sent.body)).answerSchema;
    };
    const object = (properties: object) => ({ type: "object", properties: { ...properties } }) as const;
    expect(await format({ ...object({ n: { type: "integer", minimum: 1 } }), required: ["n"] })).toEqual({
      type: "object",
      properties: { n: { type: "integer", description: "{minimum: 1}" } },
      required: ["n"],
      additionalProperties: false,
    });
    const [root, node] = [{ $ref: "#" }, { $ref: "#/$defs/node" }];
    const $defs = { node: object({ n: { type: "integer" } }) };
    expect(await format({ ...object({ node }), $defs })).toMatchObject({ properties: { node } });
    for (const schema of [
      {},
      object({ next: root }),
      { ...object({ node }), $defs: { node: object({ next: node }) } },
      object({ any: {} }),
      object({ map: { type: "object", additionalProperties: { type: "string" } } }),
      object({ list: { type: "array", items: {} } }),
      { type: ["object", "null"] },
      object({ one: { enum: [{ a: 1 }] } }),
      object({ one: { const: [1] } }),
      object({ one: { $ref: "#/properties/two" }, two: { type: "string" } }),
      { ...object({ one: { $ref: "#/definitions/two" } }), definitions: { two: { type: "string" } } },
    ]) {
      expect([schema, await format(schema)]).toEqual([schema, undefined]);
    }
  });
});

import { z } from "zod";
import { anthropic } from "../../../src/host/providers/anthropic.ts";
import { withDepth } from "./encoded.ts";
import type { Heard, HeardTurn, Said, SpokenWire, Story } from "./story.ts";

/** The Messages API of Anthropic. */
export const messages: SpokenWire = {
  dialect: anthropic,
  path: "/v1/messages",
  keyHeader: (key) => ["x-api-key", key],
  encode,
  endsAt: '"stop_reason":"',
  hear,
  idOf: (ours) => ours,
  counts: (usage) => usage,
  reasons: [
    ["max_tokens", "length"],
    ["stop_sequence", "end"],
    ["pause_turn", "paused"],
    ["model_context_window_exceeded", "context_full"],
    ["something new", "end"],
  ],
  refusal: (words) => encode({ said: [{ type: "text", pieces: [words] }], reason: "refusal" }),
  errors: (
    [
      ["overloaded_error", "provider.unavailable"],
      ["api_error", "provider.unavailable"],
      ["rate_limit_error", "provider.rate_limited"],
      ["authentication_error", "provider.sign_in"],
      ["invalid_request_error", "provider.bad_request"],
      ["timeout_error", "provider.timeout"],
      ["something_new", "provider.unavailable"],
    ] as const
  ).map(([type, code]) => {
    const begun = toMessageEvents([
      { type: "message_start", message: {} },
      { type: "error", error: { type, message: "in their words" } },
    ]);
    return [begun, code];
  }),
  garbled: [
    ["what is no event", toMessageEvents([{ type: "message_start" }])],
    ["more of nothing", toMessageEvents([{ type: "content_block_delta", index: 0, delta: { text: "a" } }])],
    ["a block out of bounds", toMessageEvents([toStart(1e9, { type: "text", text: "" })])],
    [
      "the same block twice",
      toMessageEvents([toStart(0, { type: "text", text: "" }), toStart(0, { type: "text", text: "" })]),
    ],
    ["a call without a name", toMessageEvents([toStart(0, { type: "tool_use", id: "a", input: {} })])],
    ["a block that no log could keep", withDepth((deep) => toMessageEvents([toStart(0, { type: "new", deep })]))],
  ],
  sayable: { maxOutputTokens: 99, stop: ["END"], reasoning: "high" },
  unsayable: [{ temperature: 0.5 }, { topP: 0.9 }, { seed: 7 }],
  can: { ids: true, pieces: true, images: false, resultImages: true, reasoning: true },
};

/** Events as the bytes of the stream: each is named as its type is. */
export function toMessageEvents(events: readonly { readonly type: string; readonly [key: string]: unknown }[]): string {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
}

/** The start of a block. */
export function toStart(index: number, content_block: { readonly type: string; readonly [key: string]: unknown }) {
  return { type: "content_block_start", index, content_block };
}

function encode({ said, reason, usage }: Story): string {
  const calls = said.some(({ type }) => type === "call");
  const {
    inputUncached = 1,
    cacheRead = 0,
    cacheWrite5m = 0,
    cacheWrite1h = 0,
    output = 1,
    reasoning = 0,
  } = usage ?? {};
  return toMessageEvents([
    {
      type: "message_start",
      message: {
        id: "msg_1",
        role: "assistant",
        content: [],
        usage: {
          input_tokens: inputUncached,
          cache_read_input_tokens: cacheRead,
          cache_creation_input_tokens: cacheWrite5m + cacheWrite1h,
          cache_creation: { ephemeral_5m_input_tokens: cacheWrite5m, ephemeral_1h_input_tokens: cacheWrite1h },
          output_tokens: 1,
        },
      },
    },
    { type: "ping" },
    ...said.flatMap(toBlock),
    {
      type: "message_delta",
      delta: { stop_reason: reason ?? (calls ? "tool_use" : "end_turn"), stop_sequence: null },
      usage: {
        input_tokens: null,
        output_tokens: output + reasoning,
        output_tokens_details: { thinking_tokens: reasoning },
      },
    },
    { type: "message_stop" },
  ]);
}

function toBlock(part: Said, index: number) {
  const deltas = (changes: readonly unknown[]) =>
    changes.map((delta) => ({ type: "content_block_delta", index, delta }));
  const stop = { type: "content_block_stop", index };
  switch (part.type) {
    case "text":
      return [
        toStart(index, { type: "text", text: "", citations: null }),
        ...deltas(part.pieces.map((text) => ({ type: "text_delta", text }))),
        stop,
      ];
    case "reasoning":
      return [
        toStart(index, { type: "thinking", thinking: "", signature: "" }),
        ...deltas(part.pieces.map((thinking) => ({ type: "thinking_delta", thinking }))),
        ...deltas([{ type: "signature_delta", signature: "c2lnbmVk" }]),
        stop,
      ];
    case "call": {
      const { id, name, pieces } = part;
      return [
        toStart(index, { type: "tool_use", id, name, input: {}, caller: { type: "direct" } }),
        ...deltas(["", ...pieces].map((partial_json) => ({ type: "input_json_delta", partial_json }))),
        stop,
      ];
    }
    default:
      throw new Error("a message of this API holds no images");
  }
}

const cache = { cache_control: z.strictObject({ type: z.literal("ephemeral") }).optional() };
const Text = z.strictObject({
  type: z.literal("text"),
  text: z.string().regex(/\S/),
  citations: z.null().optional(),
  ...cache,
});
const Image = z.strictObject({
  type: z.literal("image"),
  source: z.strictObject({
    type: z.literal("base64"),
    media_type: z.enum(["image/jpeg", "image/png", "image/gif", "image/webp"]),
    data: z.base64(),
  }),
  ...cache,
});
const id = z.string().regex(/^[\w-]+$/);
const Result = z.strictObject({
  type: z.literal("tool_result"),
  tool_use_id: id,
  content: z.array(z.union([Text, Image])),
  is_error: z.literal(true).optional(),
  ...cache,
});
const Use = z.strictObject({
  type: z.literal("tool_use"),
  id,
  name: z.string(),
  input: z.record(z.string(), z.json()),
  caller: z.strictObject({ type: z.literal("direct") }).optional(),
});
const Thinking = z.strictObject({
  type: z.literal("thinking"),
  thinking: z.string(),
  signature: z.string().min(1),
});
const Redacted = z.strictObject({ type: z.literal("redacted_thinking"), data: z.string() });
const Message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("user"), content: z.array(z.union([Result, Text, Image])).min(1) }),
  z.strictObject({ role: z.literal("assistant"), content: z.array(z.union([Text, Use, Thinking, Redacted])).min(1) }),
]);
const Body = z.strictObject({
  model: z.string(),
  max_tokens: z.int().min(1),
  stream: z.literal(true),
  messages: z.array(Message).min(1),
  system: z.array(Text).optional(),
  tools: z
    .array(
      z.strictObject({
        name: z.string(),
        description: z.string(),
        input_schema: z.looseObject({ type: z.literal("object") }),
        ...cache,
      }),
    )
    .optional(),
  stop_sequences: z.array(z.string()).optional(),
  thinking: z
    .union([
      z.strictObject({ type: z.literal("disabled") }),
      z.strictObject({ type: z.literal("adaptive"), display: z.literal("summarized") }),
      z.strictObject({
        type: z.literal("enabled"),
        display: z.literal("summarized"),
        budget_tokens: z.int().min(1_024),
      }),
    ])
    .optional(),
  output_config: z
    .strictObject({
      effort: z.enum(["low", "medium", "high"]).optional(),
      format: z.strictObject({ type: z.literal("json_schema"), schema: z.record(z.string(), z.json()) }).optional(),
    })
    .optional(),
});

function hear(raw: unknown): Heard {
  const body = Body.parse(raw);
  const { system, messages: turns, tools = [], stop_sequences: stop, output_config, max_tokens } = body;
  // Without one in the settings the API still wants one.
  const maxOutputTokens = max_tokens === 32_000 ? undefined : max_tokens;
  return {
    model: body.model,
    system: system?.map(({ text }) => text).join("\n\n"),
    turns: turns.flatMap(hearTurns),
    tools: tools.map(({ name }) => name),
    settings: JSON.parse(JSON.stringify({ maxOutputTokens, stop, reasoning: output_config?.effort })),
    answerSchema: output_config?.format?.schema,
  };
}

function hearTurns(message: z.infer<typeof Message>): readonly HeardTurn[] {
  if (message.role === "assistant") {
    const text = message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
    const calls = message.content.flatMap((block) =>
      block.type === "tool_use" ? [{ id: block.id, name: block.name, args: block.input }] : [],
    );
    return [{ role: "assistant", text, calls }];
  }
  const { content } = message;
  const results = content.filter((block) => block.type === "tool_result");
  const first = content.findIndex(({ type }) => type !== "tool_result");
  if (first >= 0 && first < results.length) throw new Error("a result stands behind what the user says");
  const said = content.filter((block) => block.type !== "tool_result");
  return [
    ...results.map(({ tool_use_id, content: held }) => ({
      role: "tool" as const,
      id: tool_use_id,
      ...hearBlocks(held),
    })),
    ...(said.length === 0 ? [] : [{ role: "user" as const, ...hearBlocks(said) }]),
  ];
}

function hearBlocks(blocks: readonly (z.infer<typeof Text> | z.infer<typeof Image>)[]) {
  const texts = blocks.flatMap((block) => (block.type === "text" ? [block.text] : []));
  const images = blocks.flatMap((block) => (block.type === "image" ? [block.source.data] : []));
  return { text: texts.join("\n\n"), images };
}

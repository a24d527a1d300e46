import { z } from "zod";
import { toChatCallId } from "../../../src/host/providers/chat-body.ts";
import { openaiCompatible } from "../../../src/host/providers/openai-compatible.ts";
import { delta, toSse } from "../sse-server.ts";
import { toImage, withDepth } from "./encoded.ts";
import type { Heard, HeardTurn, Said, SpokenWire, Story } from "./story.ts";

/** Chat Completions. */
export const chat: SpokenWire = {
  dialect: openaiCompatible,
  path: "/chat/completions",
  keyHeader: (key) => ["authorization", `Bearer ${key}`],
  encode,
  endsAt: '"finish_reason":"',
  hear,
  idOf: toChatCallId,
  counts: (usage) => ({
    ...usage,
    inputUncached: usage.inputUncached + usage.cacheWrite5m + usage.cacheWrite1h,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
  }),
  reasons: [
    ["length", "length"],
    ["content_filter", "filtered"],
    ["something new", "end"],
  ],
  refusal: (words) => toSse([delta({ refusal: words }), delta({}, "stop")]).toString(),
  errors: [
    [toSse([delta({ content: "well" }), { error: { message: "overloaded" } }]).toString(), "provider.unavailable"],
    [toSse([delta({ content: "well" }, "")]).toString(), "provider.unavailable"],
    [toSse([delta({ content: "well" }), delta({}, "abort")]).toString(), "provider.unavailable"],
    [toSse([delta({ content: "well" }), delta({}, "error")]).toString(), "provider.unavailable"],
  ],
  garbled: [
    ["a chunk that is none", toSse(["hello"]).toString()],
    ["a chunk of another shape", toSse([{ choices: "none" }]).toString()],
    ["a call out of bounds", toSse([delta({ tool_calls: [{ index: 1e9 }] }), delta({}, "stop")]).toString()],
    ["a call without a name", toSse([delta({ tool_calls: [{ index: 0, id: "a" }] }), delta({}, "stop")]).toString()],
    [
      "a call that no log could keep",
      withDepth((deep) => toSse([delta({ tool_calls: [{ id: "a", deep }] })]).toString()),
    ],
  ],
  sayable: { temperature: 0.5, topP: 0.9, maxOutputTokens: 99, stop: ["END"], seed: 7, reasoning: "high" },
  unsayable: [{ reasoning: "off" }],
  can: { ids: true, pieces: true, images: true, resultImages: false, reasoning: true },
};

function encode({ said, reason, usage }: Story): string {
  let calls = 0;
  const chunks = said.flatMap((part) => toDeltas(part, part.type === "call" ? calls++ : 0));
  const ended = delta({}, reason ?? (calls > 0 ? "tool_calls" : "stop"));
  return toSse([
    ...chunks,
    ended,
    ...(usage === undefined ? [] : [{ choices: [], usage: toChatUsage(usage) }]),
  ]).toString();
}

function toDeltas(part: Said, index: number): readonly unknown[] {
  switch (part.type) {
    case "text":
      return part.pieces.map((content) => delta({ content }));
    case "reasoning":
      return part.pieces.map((reasoning_content) => delta({ reasoning_content }));
    case "image":
      return [delta({ images: [{ type: "image_url", image_url: { url: `data:image/png;base64,${part.data}` } }] })];
    default: {
      const { id, name, pieces } = part;
      const head = { index, id, type: "function", function: { name, arguments: "" } };
      return [
        delta({ tool_calls: [head] }),
        ...pieces.map((text) => delta({ tool_calls: [{ index, function: { arguments: text } }] })),
      ];
    }
  }
}

function toChatUsage(usage: NonNullable<Story["usage"]>) {
  const { inputUncached, cacheRead, cacheWrite5m, cacheWrite1h, output, reasoning } = usage;
  return {
    prompt_tokens: inputUncached + cacheRead + cacheWrite5m + cacheWrite1h,
    completion_tokens: output + reasoning,
    prompt_tokens_details: { cached_tokens: cacheRead },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}

const Content = z.union([
  z.string(),
  z.array(
    z.union([
      z.strictObject({ type: z.literal("text"), text: z.string() }),
      z.strictObject({ type: z.literal("image_url"), image_url: z.strictObject({ url: z.string() }) }),
    ]),
  ),
]);
const Call = z.strictObject({
  id: z.string(),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string(), arguments: z.string() }),
});
const Body = z.strictObject({
  model: z.string(),
  stream: z.literal(true),
  stream_options: z.strictObject({ include_usage: z.literal(true) }),
  messages: z.array(
    z.discriminatedUnion("role", [
      z.strictObject({ role: z.literal("system"), content: z.string() }),
      z.strictObject({ role: z.literal("user"), content: Content }),
      z.strictObject({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        reasoning_content: z.string().optional(),
        tool_calls: z.array(Call).optional(),
      }),
      z.strictObject({ role: z.literal("tool"), tool_call_id: z.string(), content: z.string() }),
    ]),
  ),
  tools: z.array(z.object({ function: z.object({ name: z.string() }) })).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  max_tokens: z.number().optional(),
  stop: z.array(z.string()).optional(),
  seed: z.number().optional(),
  reasoning_effort: z.enum(["low", "medium", "high"]).optional(),
  response_format: z
    .strictObject({
      type: z.literal("json_schema"),
      json_schema: z.strictObject({
        name: z.string(),
        strict: z.literal(true),
        schema: z.record(z.string(), z.json()),
      }),
    })
    .optional(),
});

function hear(raw: unknown): Heard {
  const body = Body.parse(raw);
  const { temperature, top_p: topP, max_tokens: maxOutputTokens, stop, seed, reasoning_effort: reasoning } = body;
  const system = body.messages.find((message) => message.role === "system");
  return {
    model: body.model,
    system: system?.content,
    turns: body.messages.flatMap(hearTurn),
    tools: body.tools?.map((tool) => tool.function.name) ?? [],
    settings: JSON.parse(JSON.stringify({ temperature, topP, maxOutputTokens, stop, seed, reasoning })),
    answerSchema: body.response_format?.json_schema.schema,
  };
}

function hearTurn(message: z.infer<typeof Body>["messages"][number]): readonly HeardTurn[] {
  switch (message.role) {
    case "system":
      return [];
    case "tool":
      return [{ role: "tool", id: message.tool_call_id, text: message.content, images: [] }];
    case "assistant": {
      const calls = message.tool_calls ?? [];
      const heard = calls.map(({ id, function: { name, arguments: args } }) => ({ id, name, args: JSON.parse(args) }));
      return [{ role: "assistant", text: message.content ?? "", calls: heard }];
    }
    default: {
      const { content } = message;
      if (typeof content === "string") return [{ role: "user", text: content, images: [] }];
      const texts = content.flatMap((part) => (part.type === "text" ? [part.text] : []));
      const images = content.flatMap((part) => (part.type === "image_url" ? [toImage(part.image_url.url)] : []));
      return [{ role: "user", text: texts.join("\n\n"), images }];
    }
  }
}

import { z } from "zod";
import type { Usage } from "../../../src/core/event.ts";
import { openaiResponses } from "../../../src/host/providers/openai-responses.ts";
import { toImage, withDepth } from "./encoded.ts";
import type { Heard, HeardTurn, Said, SpokenWire, Story } from "./story.ts";

type StreamEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

/** The Responses API of OpenAI. */
export const responses: SpokenWire = {
  dialect: openaiResponses,
  path: "/responses",
  keyHeader: (key) => ["authorization", `Bearer ${key}`],
  encode,
  endsAt: '"type":"response.completed"',
  hear,
  idOf: (ours) => ours,
  counts: (usage) => usage,
  reasons: [
    ["max_output_tokens", "length"],
    ["content_filter", "filtered"],
    ["something new", "length"],
  ],
  refusal: (words) => {
    const item = message({ type: "refusal", refusal: words });
    return toStream([
      { type: "response.refusal.delta", output_index: 0, delta: words },
      { type: "response.output_item.done", output_index: 0, item },
      completed([item]),
    ]);
  },
  errors: [
    [toStream([failed("server_error")]), "provider.unavailable"],
    [toStream([failed("rate_limit_exceeded")]), "provider.rate_limited"],
    [toStream([failed("insufficient_quota")]), "provider.sign_in"],
    [toStream([failed("invalid_prompt")]), "provider.bad_request"],
    [toStream([{ type: "error", code: "server_error", message: "sorry" }]), "provider.unavailable"],
  ],
  garbled: [
    ["an event that is none", "event: x\ndata: 7\n\n"],
    ["an event of another shape", toStream([{ type: "response.output_text.delta", delta: 7 }])],
    ["an item out of bounds", toStream([{ type: "response.output_item.added", output_index: 1e9, item: {} }])],
    [
      "a call without a name",
      toStream([
        { type: "response.output_item.added", output_index: 0, item: { type: "function_call", call_id: "a" } },
      ]),
    ],
    ["an item that no log could keep", withDepth((deep) => toStream([completed([{ type: "new", deep }])]))],
  ],
  sayable: { temperature: 0.5, topP: 0.9, maxOutputTokens: 99, reasoning: "high" },
  unsayable: [{ stop: ["END"] }, { seed: 7 }],
  can: { ids: true, pieces: true, images: true, resultImages: true, reasoning: true },
};

function toStream(events: readonly StreamEvent[]): string {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
}

function failed(code: string) {
  return { type: "response.failed", response: { status: "failed", error: { code, message: "as they say it" } } };
}

function completed(output: readonly unknown[]) {
  return { type: "response.completed", response: { status: "completed", output } };
}

function message(...content: readonly unknown[]) {
  return { type: "message", id: "msg_1", status: "completed", role: "assistant", content };
}

function encode({ said, reason, usage }: Story): string {
  const told = said.map(toEvents);
  const status = reason === undefined ? "completed" : "incomplete";
  const incomplete_details = reason === undefined ? null : { reason };
  const output = told.map(({ item }) => item);
  const counted = usage === undefined ? {} : { usage: toCounts(usage) };
  return toStream(
    [
      { type: "response.created" },
      { type: "response.in_progress" },
      ...told.flatMap(({ events }) => events),
      { type: `response.${status}`, response: { status, incomplete_details, error: null, output, ...counted } },
    ].map((event, sequence_number) => ({ ...event, sequence_number })),
  );
}

function toEvents(part: Said, output_index: number) {
  const pieces = part.type === "image" ? [] : part.pieces;
  const whole = pieces.join("");
  const deltas = (type: string, more = {}) => pieces.map((delta) => ({ type, output_index, delta, ...more }));
  const around = (begun: object, item: object, between: readonly { readonly type: string }[]) => ({
    item,
    events: [
      { type: "response.output_item.added", output_index, item: begun },
      ...between,
      { type: "response.output_item.done", output_index, item },
    ],
  });
  switch (part.type) {
    case "text": {
      const item = message({ type: "output_text", text: whole, annotations: [] });
      const begun = { type: "response.content_part.added", output_index, content_index: 0 };
      return around({ ...item, content: [] }, item, [
        begun,
        ...deltas("response.output_text.delta", { content_index: 0 }),
      ]);
    }
    case "reasoning": {
      const summary = [{ type: "summary_text", text: whole }];
      const item = { type: "reasoning", id: "rs_1", summary, encrypted_content: "gAAAA==", status: null };
      const begun = { type: "response.reasoning_summary_part.added", output_index, summary_index: 0 };
      const told = deltas("response.reasoning_summary_text.delta", { summary_index: 0 });
      return around({ type: "reasoning", id: "rs_1", summary: [] }, item, [begun, ...told]);
    }
    case "image": {
      const item = {
        type: "image_generation_call",
        id: "ig_1",
        status: "completed",
        result: part.data,
        output_format: "png",
      };
      return around({ ...item, result: null }, item, [{ type: "response.image_generation_call.completed" }]);
    }
    default: {
      const begun = {
        type: "function_call",
        id: `fc_${output_index}`,
        call_id: part.id,
        name: part.name,
        arguments: "",
      };
      const done = { type: "response.function_call_arguments.done", output_index, arguments: whole };
      const told = [...deltas("response.function_call_arguments.delta"), done];
      return around(begun, { ...begun, arguments: whole, status: "completed" }, told);
    }
  }
}

function toCounts({ inputUncached, cacheRead, cacheWrite5m, cacheWrite1h, output, reasoning }: Usage) {
  const cache_write_tokens = cacheWrite5m + cacheWrite1h;
  const input_tokens = inputUncached + cacheRead + cache_write_tokens;
  return {
    input_tokens,
    input_tokens_details: {
      cached_tokens: cacheRead,
      cache_write_tokens,
      cache_write_tokens_details: { ttl_30m_tokens: cacheWrite5m, ttl_12h_tokens: cacheWrite1h },
    },
    output_tokens: output + reasoning,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: input_tokens + output + reasoning,
  };
}

const Text = z.strictObject({ type: z.literal("input_text"), text: z.string() });
const Image = z.strictObject({ type: z.literal("input_image"), detail: z.literal("auto"), image_url: z.string() });
const Content = z.array(z.discriminatedUnion("type", [Text, Image]));
const Item = z.union([
  z.strictObject({ role: z.literal("user"), content: Content }),
  z.strictObject({ role: z.literal("assistant"), content: z.string() }),
  z.strictObject({
    type: z.literal("function_call"),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    id: z.string().optional(),
    status: z.literal("completed").optional(),
  }),
  z.strictObject({
    type: z.literal("function_call_output"),
    call_id: z.string(),
    output: z.union([z.string(), Content]),
  }),
  z.strictObject({
    type: z.literal("reasoning"),
    id: z.string(),
    summary: z.array(z.unknown()),
    encrypted_content: z.string(),
    status: z.null(),
  }),
  z.strictObject({
    type: z.literal("image_generation_call"),
    id: z.string(),
    status: z.literal("completed"),
    output_format: z.literal("png"),
    result: z.string(),
  }),
  z.strictObject({
    type: z.literal("message"),
    id: z.string(),
    status: z.literal("completed"),
    role: z.literal("assistant"),
    content: z.array(z.object({ type: z.literal("output_text"), text: z.string() })),
  }),
]);
const Body = z.strictObject({
  model: z.string(),
  stream: z.literal(true),
  store: z.literal(false),
  instructions: z.string().optional(),
  input: z.array(Item),
  tools: z.array(z.object({ type: z.literal("function"), name: z.string(), strict: z.literal(false) })).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  max_output_tokens: z.number().optional(),
  reasoning: z.strictObject({ effort: z.enum(["low", "medium", "high"]), summary: z.literal("auto") }).optional(),
  include: z.tuple([z.literal("reasoning.encrypted_content")]).optional(),
  text: z
    .strictObject({
      format: z.strictObject({
        type: z.literal("json_schema"),
        name: z.string(),
        strict: z.literal(true),
        schema: z.record(z.string(), z.json()),
      }),
    })
    .optional(),
});

function hear(raw: unknown): Heard {
  const body = Body.parse(raw);
  const { temperature, top_p: topP, max_output_tokens: maxOutputTokens } = body;
  return {
    model: body.model,
    system: body.instructions,
    turns: hearTurns(body.input),
    tools: body.tools?.map(({ name }) => name) ?? [],
    settings: JSON.parse(JSON.stringify({ temperature, topP, maxOutputTokens, reasoning: body.reasoning?.effort })),
    answerSchema: body.text?.format.schema,
  };
}

/** Neighbouring items of the model are one turn. */
function hearTurns(items: readonly z.infer<typeof Item>[]): readonly HeardTurn[] {
  const turns: HeardTurn[] = [];
  const say = (text: string, calls: (HeardTurn & { role: "assistant" })["calls"]): void => {
    const last = turns.at(-1);
    if (last?.role !== "assistant") turns.push({ role: "assistant", text, calls });
    else turns[turns.length - 1] = { ...last, text: last.text + text, calls: [...last.calls, ...calls] };
  };
  for (const item of items) {
    if ("role" in item && item.role === "user") turns.push({ role: "user", ...hearContent(item.content) });
    else if ("role" in item)
      say(typeof item.content === "string" ? item.content : item.content.map(({ text }) => text).join(""), []);
    else if (item.type === "function_call")
      say("", [{ id: item.call_id, name: item.name, args: JSON.parse(item.arguments) }]);
    else if (item.type === "function_call_output") {
      const heard = typeof item.output === "string" ? { text: item.output, images: [] } : hearContent(item.output);
      turns.push({ role: "tool", id: item.call_id, ...heard });
    }
  }
  return turns;
}

function hearContent(content: z.infer<typeof Content>) {
  return {
    text: content.flatMap((part) => (part.type === "input_text" ? [part.text] : [])).join("\n\n"),
    images: content.flatMap((part) => (part.type === "input_image" ? [toImage(part.image_url)] : [])),
  };
}

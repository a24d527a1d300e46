import { z } from "zod";
import { ollama } from "../../../src/host/providers/ollama.ts";
import { withDepth } from "./encoded.ts";
import type { Heard, HeardTurn, SpokenWire, Story } from "./story.ts";

/** Ollama's /api/chat. */
export const ollamaChat: SpokenWire = {
  dialect: ollama({}),
  path: "/api/chat",
  keyHeader: (key) => ["authorization", `Bearer ${key}`],
  encode,
  endsAt: '"done_reason":"',
  hear,
  idOf: () => "echo",
  counts: ({ inputUncached, cacheRead, cacheWrite5m, cacheWrite1h, output, reasoning }) => ({
    inputUncached: inputUncached + cacheRead + cacheWrite5m + cacheWrite1h,
    cacheRead: 0,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    output: output + reasoning,
    reasoning: 0,
  }),
  reasons: [
    ["length", "length"],
    ["load", "end"],
    ["something new", "end"],
  ],
  errors: [[toLines([toLine({ content: "well" }), { error: "the runner has gone" }]), "provider.unavailable"]],
  garbled: [
    ["a line that is none", toLines([["hello"]])],
    ["a line of another shape", toLines([{ message: { content: 5 }, done: false }])],
    ["a call without a name", toLines([toLine({ tool_calls: [{ function: { arguments: {} } }] })])],
    ["arguments that are no object", toLines([toLine({ tool_calls: [{ function: { name: "a", arguments: "b" } }] })])],
    [
      "arguments that no log could keep",
      withDepth((deep) => toLines([toLine({ tool_calls: [{ function: { name: "a", arguments: { deep } } }] })])),
    ],
  ],
  sayable: { temperature: 0.5, topP: 0.9, maxOutputTokens: 99, stop: ["END"], seed: 7, reasoning: "high" },
  unsayable: [],
  can: { ids: false, pieces: false, images: false, resultImages: false, reasoning: true },
};

/** Lines as the bytes of the stream. */
export function toLines(lines: readonly unknown[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** A line within an answer. */
export function toLine(message: object): object {
  return { model: "test-model", message: { role: "assistant", content: "", ...message }, done: false };
}

function encode({ said, reason, usage }: Story): string {
  const { prompt_eval_count, eval_count } = toCounts(usage);
  const lines = said.flatMap((part): readonly object[] => {
    switch (part.type) {
      case "text":
        return part.pieces.map((content) => toLine({ content }));
      case "reasoning":
        return part.pieces.map((thinking) => toLine({ thinking }));
      case "call": {
        const text = part.pieces.join("") || "{}";
        const args: unknown = JSON.parse(text);
        return [toLine({ tool_calls: [{ function: { name: part.name, arguments: args } }] })];
      }
      default:
        throw new Error("an answer of this API holds no images");
    }
  });
  const end = { done: true, done_reason: reason ?? "stop", prompt_eval_count, eval_count };
  return toLines([...lines, { ...toLine({}), ...end }]);
}

function toCounts(usage: Story["usage"]) {
  if (usage === undefined) return { prompt_eval_count: 1, eval_count: 1 };
  const { inputUncached, cacheRead, cacheWrite5m, cacheWrite1h, output, reasoning } = usage;
  return {
    prompt_eval_count: inputUncached + cacheRead + cacheWrite5m + cacheWrite1h,
    eval_count: output + reasoning,
  };
}

const Message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.literal("system"), content: z.string() }),
  z.strictObject({ role: z.literal("user"), content: z.string(), images: z.array(z.base64()).optional() }),
  z.strictObject({
    role: z.literal("assistant"),
    content: z.string(),
    thinking: z.string().optional(),
    tool_calls: z
      .array(
        z.strictObject({ function: z.strictObject({ name: z.string(), arguments: z.record(z.string(), z.json()) }) }),
      )
      .optional(),
  }),
  z.strictObject({ role: z.literal("tool"), tool_name: z.string(), content: z.string() }),
]);
const Body = z.strictObject({
  model: z.string(),
  stream: z.literal(true),
  truncate: z.literal(false),
  shift: z.literal(false),
  messages: z.array(Message),
  tools: z
    .array(
      z.strictObject({
        type: z.literal("function"),
        function: z.strictObject({
          name: z.string(),
          description: z.string(),
          parameters: z.record(z.string(), z.json()),
        }),
      }),
    )
    .optional(),
  format: z.record(z.string(), z.json()).optional(),
  think: z.union([z.boolean(), z.enum(["low", "medium", "high"])]).optional(),
  keep_alive: z.union([z.string(), z.number()]).optional(),
  options: z.strictObject({
    num_ctx: z.int().optional(),
    num_predict: z.int().optional(),
    temperature: z.number().optional(),
    top_p: z.number().optional(),
    seed: z.int().optional(),
    stop: z.array(z.string()).optional(),
  }),
});

function hear(raw: unknown): Heard {
  const { model, messages, tools = [], format, think, options } = Body.parse(raw);
  const { temperature, top_p: topP, num_predict: maxOutputTokens, seed, stop } = options;
  const reasoning = think === true ? "high" : think === false ? "off" : think;
  return {
    model,
    system: messages.find(({ role }) => role === "system")?.content,
    turns: messages.flatMap(hearTurn),
    tools: tools.map((tool) => tool.function.name),
    settings: JSON.parse(JSON.stringify({ temperature, topP, maxOutputTokens, stop, seed, reasoning })),
    answerSchema: format,
  };
}

function hearTurn(message: z.infer<typeof Message>): readonly HeardTurn[] {
  switch (message.role) {
    case "system":
      return [];
    case "user":
      return [{ role: "user", text: message.content, images: message.images ?? [] }];
    case "tool":
      return [{ role: "tool", id: message.tool_name, text: message.content, images: [] }];
    default: {
      const calls = message.tool_calls ?? [];
      const heard = calls.map(({ function: { name, arguments: args } }) => ({ id: name, name, args }));
      return [{ role: "assistant", text: message.content, calls: heard }];
    }
  }
}

import { z } from "zod";
import type { AnswerPart, Stop, Usage } from "../../core/event.ts";
import { estimateTokens, estimateUsage } from "../price.ts";
import type { ModelEvent, ModelRequest } from "../provider.ts";
import type { WireCall } from "./wire.ts";
import { WireObject } from "./wire-object.ts";
import { TokenCount, toRaw } from "./wire.ts";

/** How many tool calls one answer may hold. */
const maxCalls = 128;

/** What Capstan reads of a line of `/api/chat`. */
const Line = z.object({
  message: z
    .object({
      content: z.string().nullish(),
      thinking: z.string().nullish(),
      tool_calls: z
        .array(
          z.object({
            function: z.object({ name: z.string().min(1), arguments: WireObject.nullish() }),
          }),
        )
        .nullish(),
    })
    .nullish(),
  done: z.boolean().nullish(),
  done_reason: z.string().nullish(),
  prompt_eval_count: TokenCount,
  eval_count: TokenCount,
});
type Line = z.infer<typeof Line>;

export interface OllamaAnswer {
  /** What one more line says; the last one ends the message. Throws `provider.bad_answer` for what is no line of `/api/chat`. */
  push(line: unknown): readonly ModelEvent[];
}

/**
 * Puts the lines of one answer together. Calls come whole and without ids, so they are numbered. `contextTokens`: the size of the context
 * that the model was to be loaded with; missing: nobody said one.
 */
export function openOllamaAnswer(
  request: ModelRequest,
  wire: Pick<WireCall, "wire" | "badAnswer">,
  contextTokens?: number,
): OllamaAnswer {
  const parts: AnswerPart[] = [];

  function addText(type: "text" | "reasoning", text: string): ModelEvent {
    const last = parts.at(-1);
    if (last?.type === type) parts[parts.length - 1] = { type, text: last.text + text };
    else parts.push({ type, text });
    return { type: `${type}.delta`, text };
  }

  function addCall(name: string, args: unknown): readonly ModelEvent[] {
    const index = parts.filter(({ type }) => type === "tool_call").length;
    if (index === maxCalls) throw wire.badAnswer(`more than ${maxCalls} tool calls in one answer`);
    const call = { callId: `call_${index}`, name, argumentsText: JSON.stringify(args ?? {}) };
    parts.push({ type: "tool_call", ...call });
    return [
      { type: "tool.started", callId: call.callId, name, index },
      { type: "tool.delta", callId: call.callId, text: call.argumentsText },
      { type: "tool.ready", ...call },
    ];
  }

  return {
    push(raw) {
      const parsed = Line.safeParse(raw);
      if (!parsed.success) throw wire.badAnswer("a line that is not one of Ollama's /api/chat", parsed.error);
      const line = parsed.data;
      const { content, thinking, tool_calls } = line.message ?? {};
      const events: ModelEvent[] = [];
      if (thinking) events.push(addText("reasoning", thinking));
      if (content) events.push(addText("text", content));
      for (const { function: called } of tool_calls ?? []) events.push(...addCall(called.name, called.arguments));
      if (line.done === true) {
        const stop = isFull(line, request, contextTokens) ? "context_full" : toStop(line.done_reason, parts);
        events.push(toEnd(line, parts, stop, request, wire));
      }
      return events;
    },
  };
}

function toEnd(
  line: Line,
  parts: readonly AnswerPart[],
  stop: Stop,
  request: ModelRequest,
  wire: Pick<WireCall, "wire">,
): ModelEvent {
  const hasCalls = parts.some(({ type }) => type === "tool_call");
  const thinking = parts.flatMap((part) => (part.type === "reasoning" ? [part.text] : [])).join("");
  return {
    type: "message.ended",
    parts: [...parts],
    stop,
    usage: toUsage(line, parts, request),
    // While it calls tools a model goes on with the thought that it began; its own template wants it back.
    ...(hasCalls && thinking !== "" ? { raw: toRaw({ thinking }, wire, request) } : {}),
  };
}

/** `load` means that the model was only loaded, which says nothing else; a server without reasons has come to its end. */
function toStop(reason: string | null | undefined, parts: readonly AnswerPart[]): Stop {
  if (reason === "length") return "length";
  return parts.some(({ type }) => type === "tool_call") ? "tool" : "end";
}

/** Whether an answer ended at the edge of the context, for which the server has the same word as for its bound. It may stop a token short. */
function isFull(
  { done_reason: reason, prompt_eval_count: input, eval_count: output }: Line,
  { settings: { maxOutputTokens = Infinity } }: ModelRequest,
  contextTokens = Infinity,
): boolean {
  if (reason !== "length" || typeof input !== "number" || typeof output !== "number") return false;
  return output < maxOutputTokens && input + output >= contextTokens - 2;
}

/** Ollama counts neither its cache nor its thinking apart. A count that is missing, such as that of a prompt kept whole, is estimated. */
function toUsage(line: Line, parts: readonly AnswerPart[], request: ModelRequest): Usage {
  const { prompt_eval_count: input, eval_count: output } = line;
  const estimated = estimateUsage(request);
  return {
    ...estimated,
    inputUncached: input ?? estimated.inputUncached,
    output: output ?? estimateTokens(JSON.stringify(parts)),
  };
}

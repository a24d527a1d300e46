import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import type { AnswerPart, Stop, Usage } from "../../core/event.ts";
import type { ModelEvent, ModelRequest } from "../provider.ts";
import { estimateTokens, estimateUsage } from "../price.ts";

/** How many tool calls one answer may hold. */
const maxCalls = 128;

const count = z.int().min(0).nullish().catch(null);
const text = z.string().nullish();

/** What Capstan reads of a Chat Completions chunk; servers add fields of their own. */
const Chunk = z.object({
  choices: z
    .array(
      z.object({
        delta: z
          .object({
            content: text,
            refusal: text,
            // Two names for the same thing: vLLM, llama.cpp and DeepSeek say the first, others the second.
            reasoning_content: text,
            reasoning: text.catch(null),
            tool_calls: z
              .array(
                z.object({
                  index: z
                    .int()
                    .min(0)
                    .max(maxCalls - 1)
                    .nullish(),
                  id: text,
                  function: z.object({ name: text, arguments: text }).nullish(),
                }),
              )
              .nullish(),
          })
          .nullish(),
        finish_reason: text,
      }),
    )
    .nullish(),
  usage: z
    .object({
      prompt_tokens: count,
      completion_tokens: count,
      prompt_tokens_details: z.object({ cached_tokens: count }).nullish().catch(null),
      completion_tokens_details: z.object({ reasoning_tokens: count }).nullish().catch(null),
    })
    .nullish()
    .catch(null),
});
type Chunk = z.infer<typeof Chunk>;
type CallDelta = NonNullable<
  NonNullable<NonNullable<NonNullable<Chunk["choices"]>[number]["delta"]>["tool_calls"]>[number]
>;

/** A tool call that is still coming in. */
interface OpenCall {
  readonly index: number;
  callId: string;
  name: string;
  argumentsText: string;
  started: boolean;
}

export interface ChatAnswer {
  /** What one more chunk says. Throws `provider.bad_answer` for what is no chunk. */
  push(chunk: unknown): readonly ModelEvent[];
  /** The last events, once the stream has ended. Throws `provider.unavailable` when the answer was cut, `provider.bad_answer`. */
  end(): readonly ModelEvent[];
}

/** Puts the chunks of one answer together. */
export function openChatAnswer(request: ModelRequest): ChatAnswer {
  const parts: (AnswerPart | OpenCall)[] = [];
  let finishReason: string | undefined;
  let refused = false;
  let usage: Chunk["usage"];

  function addText(type: "text" | "reasoning", added: string): ModelEvent {
    const last = parts.at(-1);
    if (last !== undefined && "type" in last && last.type === type) {
      parts[parts.length - 1] = { type, text: last.text + added };
    } else parts.push({ type, text: added });
    return { type: `${type}.delta`, text: added };
  }

  function addCall(delta: CallDelta): readonly ModelEvent[] {
    const open = parts.filter(isOpenCall);
    const same = open.findLast((call) => call.index === (delta.index ?? call.index));
    // Some servers number every call 0 and send each whole: another id is another call.
    const isOther = same === undefined || (Boolean(delta.id) && same.callId !== "" && delta.id !== same.callId);
    const call: OpenCall = isOther
      ? { index: delta.index ?? open.length, callId: "", name: "", argumentsText: "", started: false }
      : same;
    if (isOther) {
      if (open.length === maxCalls) throw badAnswer(`more than ${maxCalls} tool calls in one answer`);
      parts.push(call);
    }
    call.callId ||= delta.id ?? "";
    call.name ||= delta.function?.name ?? "";
    call.argumentsText += delta.function?.arguments ?? "";
    if (call.started || call.name === "") return [];
    call.started = true;
    return [{ type: "tool.started", callId: call.callId, name: call.name }];
  }

  return {
    push(raw) {
      const parsed = Chunk.safeParse(raw);
      if (!parsed.success) throw badAnswer("a chunk that is not one of Chat Completions", parsed.error);
      usage = parsed.data.usage ?? usage;
      const choice = parsed.data.choices?.[0];
      if (choice === undefined) return [];
      const { delta, finish_reason } = choice;
      const events: ModelEvent[] = [];
      const reasoning = delta?.reasoning_content ?? delta?.reasoning;
      if (reasoning) events.push(addText("reasoning", reasoning));
      if (delta?.content) events.push(addText("text", delta.content));
      if (delta?.refusal) {
        refused = true;
        events.push(addText("text", delta.refusal));
      }
      for (const call of delta?.tool_calls ?? []) events.push(...addCall(call));
      finishReason = finish_reason ?? finishReason;
      return events;
    },
    end() {
      if (finishReason === undefined) {
        throw new CapstanError("provider.unavailable", "The model's answer was cut before its end. Try again.");
      }
      const whole = parts.map((part, place) => (isOpenCall(part) ? toToolCall(part, place) : part));
      const calls = whole.filter((part) => part.type === "tool_call");
      const stop = refused ? "refusal" : toStop(finishReason, calls.length > 0);
      const ready = calls.map((call) => ({ ...call, type: "tool.ready" as const }));
      return [...ready, { type: "message.ended", parts: whole, stop, usage: toUsage(usage, request, whole) }];
    },
  };
}

function isOpenCall(part: AnswerPart | OpenCall): part is OpenCall {
  return "started" in part;
}

function toToolCall({ callId, name, argumentsText }: OpenCall, place: number): AnswerPart & { type: "tool_call" } {
  if (name === "") throw badAnswer("a tool call without a name");
  return { type: "tool_call", callId: callId === "" ? `call_${place}` : callId, name, argumentsText };
}

function toStop(reason: string, hasCalls: boolean): Stop {
  switch (reason) {
    case "length":
      return "length";
    case "content_filter":
      return "filtered";
    default:
      return hasCalls ? "tool" : "end";
  }
}

/** The provider counts cached tokens within the input and reasoning within the output. A server that counts nothing is estimated. */
function toUsage(counted: Chunk["usage"], request: ModelRequest, parts: readonly AnswerPart[]): Usage {
  const { prompt_tokens: input, completion_tokens: output } = counted ?? {};
  if (typeof input !== "number" || typeof output !== "number") {
    return { ...estimateUsage(request), output: estimateTokens(JSON.stringify(parts)) };
  }
  const cacheRead = Math.min(input, counted?.prompt_tokens_details?.cached_tokens ?? 0);
  const reasoning = Math.min(output, counted?.completion_tokens_details?.reasoning_tokens ?? 0);
  return {
    inputUncached: input - cacheRead,
    cacheRead,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    output: output - reasoning,
    reasoning,
  };
}

function badAnswer(what: string, cause?: unknown): CapstanError {
  const message = `The model's endpoint sent ${what}. Check that the base URL speaks Chat Completions.`;
  return new CapstanError("provider.bad_answer", message, { cause });
}

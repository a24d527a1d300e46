import { z } from "zod";
import type { AnswerPart, RawAnswer, Stop, Usage } from "../../core/event.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { estimateTokens, estimateUsage } from "../price.ts";
import type { ModelEvent, ModelRequest } from "../provider.ts";
import { parseArguments } from "./call-arguments.ts";
import type { ObjectEnd } from "./object-end.ts";
import { openObjectEnd } from "./object-end.ts";
import type { WireCall } from "./wire.ts";
import { WireObject } from "./wire-object.ts";
import { TokenCount, openCallIds, toRaw } from "./wire.ts";

/** How many tool calls one answer may hold. */
const maxCalls = 128;

const text = z.string().nullish();

/** Mistral says text in parts, and what it thinks in parts of such a part. */
const Thought = z.array(z.object({ text }));
const ContentPart = z.object({ type: z.string(), text, thinking: Thought.nullish().catch(null) });
const Content = z.union([z.string(), z.array(ContentPart)]).nullish();

/** Beside its fields a call may carry others, such as a signature, that its endpoint wants back. */
const CallDelta = z.looseObject({
  index: z
    .int()
    .min(0)
    .max(maxCalls - 1)
    .nullish(),
  id: text,
  function: z.object({ name: text, arguments: text }).nullish(),
});
type CallDelta = z.infer<typeof CallDelta>;

/** What Capstan reads of a Chat Completions chunk; servers add fields of their own. */
const Chunk = z.object({
  choices: z
    .array(
      z.object({
        delta: z
          .object({
            content: Content,
            refusal: text,
            // Two names for the same thing: vLLM, llama.cpp and DeepSeek say the first, others the second.
            reasoning_content: text,
            reasoning: text.catch(null),
            images: z
              .array(z.object({ image_url: z.object({ url: z.string() }) }))
              .nullish()
              .catch(null),
            tool_calls: z.array(CallDelta).nullish(),
          })
          .nullish(),
        finish_reason: text,
      }),
    )
    .nullish(),
  usage: z
    .object({
      prompt_tokens: TokenCount,
      completion_tokens: TokenCount,
      prompt_tokens_details: z.object({ cached_tokens: TokenCount }).nullish().catch(null),
      completion_tokens_details: z.object({ reasoning_tokens: TokenCount }).nullish().catch(null),
    })
    .nullish()
    .catch(null),
});
type Chunk = z.infer<typeof Chunk>;

/** A tool call that is still coming in. */
interface OpenCall {
  readonly type: "tool_call";
  readonly index: number;
  /** As the endpoint said it; "" when it said none. */
  readonly said: string;
  readonly callId: string;
  name: string;
  argumentsText: string;
  readonly end: ObjectEnd;
  /** Whether they are JSON, once they have reached their end: they come in pieces, and would be read again with each. */
  isJson?: boolean;
  /** What the endpoint said of the call beside id, name and arguments. */
  readonly more: JsonObject;
  isStarted: boolean;
  isReady: boolean;
}

type OpenPart = Exclude<AnswerPart, { type: "tool_call" }> | OpenCall;

export interface ChatAnswer {
  /** What one more chunk says. Throws `provider.bad_answer` for what is no chunk. */
  push(chunk: unknown): readonly ModelEvent[];
  /** The last events, once the stream has ended; none when it was cut. Throws `provider.bad_answer`. */
  end(): readonly ModelEvent[];
}

/** Puts the chunks of one answer together. */
export function openChatAnswer(
  request: ModelRequest,
  wire: Pick<WireCall, "badAnswer" | "broke" | "wire">,
): ChatAnswer {
  const parts: OpenPart[] = [];
  const open: OpenCall[] = [];
  const toCallId = openCallIds();
  let reasoningField = "reasoning_content";
  let finishReason: string | undefined;
  let refused = false;
  let usage: Chunk["usage"];

  function addText(type: "text" | "reasoning", added: string): ModelEvent {
    const last = parts.at(-1);
    if (last?.type === type) parts[parts.length - 1] = { type, text: last.text + added };
    else parts.push({ type, text: added });
    return { type: `${type}.delta`, text: added };
  }

  function addCall(delta: CallDelta): readonly ModelEvent[] {
    const { index, id, function: called, type: _, ...others } = delta;
    const more = WireObject.safeParse(others);
    if (!more.success) throw wire.badAnswer("a tool call that is nested too deep", more.error);
    const same = open.findLast((call) => call.index === (index ?? call.index));
    const isOther = same === undefined || isAnother(delta, same);
    if (isOther && open.length === maxCalls) throw wire.badAnswer(`more than ${maxCalls} tool calls in one answer`);
    const call: OpenCall = isOther
      ? { ...newCall, more: {}, end: openObjectEnd(), index: open.length, said: id ?? "", callId: toCallId(id) }
      : same;
    const events: ModelEvent[] = [];
    if (isOther) {
      // What came before another call is complete, unless a server sends them by turns.
      events.push(...open.filter((one) => !one.isReady && isEarlyWhole(one)).flatMap(announce));
      parts.push(call);
      open.push(call);
    }
    call.name ||= called?.name ?? "";
    Object.assign(call.more, more.data);
    if (!call.isStarted && call.name !== "") {
      call.isStarted = true;
      events.push({ type: "tool.started", callId: call.callId, name: call.name, index: call.index });
    }
    const added = called?.arguments ?? "";
    call.argumentsText += added;
    call.end.push(added);
    if (added !== "") events.push({ type: "tool.delta", callId: call.callId, text: added });
    return events;
  }

  return {
    push(raw) {
      const parsed = Chunk.safeParse(raw);
      if (!parsed.success) throw wire.badAnswer("a chunk that is not one of Chat Completions", parsed.error);
      usage = parsed.data.usage ?? usage;
      const choice = parsed.data.choices?.[0];
      if (choice === undefined) return [];
      const { delta, finish_reason } = choice;
      const events: ModelEvent[] = [];
      const reasoning = delta?.reasoning_content ?? delta?.reasoning;
      if (reasoning) {
        reasoningField = delta?.reasoning_content ? "reasoning_content" : "reasoning";
        events.push(addText("reasoning", reasoning));
      }
      for (const { type, text: said } of toPieces(delta?.content)) if (said) events.push(addText(type, said));
      if (delta?.refusal) {
        refused = true;
        events.push(addText("text", delta.refusal));
      }
      for (const { image_url } of delta?.images ?? []) parts.push(...toImages(image_url.url));
      for (const call of delta?.tool_calls ?? []) events.push(...addCall(call));
      // Some say "" until there is one.
      finishReason = finish_reason || finishReason;
      return events;
    },
    end() {
      const reason = finishReason;
      if (reason === undefined) return [];
      if (isBroken(reason)) {
        const used = usage ? toUsage(usage, request, []) : undefined;
        throw wire.broke("provider.unavailable", `its reason to end is "${reason}"`, used);
      }
      if (parts.some((part) => isCall(part) && part.name === "")) throw wire.badAnswer("a tool call without a name");
      // A model that refuses has none of its calls performed; one that was cut, those that are whole.
      const isKept = (call: OpenCall): boolean => !refused && (!isCut(reason) || isWhole(call));
      const kept = parts.filter((part) => !isCall(part) || isKept(part));
      const calls = kept.filter(isCall);
      const whole = kept.map((part) => (isCall(part) ? toToolCall(part) : part));
      const blocks = toMessage(kept, reasoningField);
      const raw: { raw?: RawAnswer } = blocks === undefined ? {} : { raw: toRaw(blocks, wire, request) };
      const stop = refused ? "refusal" : toStop(reason, calls.length > 0);
      return [
        ...calls.flatMap(announce),
        { type: "message.ended", parts: whole, stop, usage: toUsage(usage, request, whole), ...raw },
      ];
    },
  };
}

function toPieces(content: z.infer<typeof Content>): readonly { type: "text" | "reasoning"; text: string }[] {
  if (typeof content === "string") return [{ type: "text", text: content }];
  return (content ?? []).map(({ type, text: said, thinking }) =>
    type === "thinking"
      ? { type: "reasoning", text: (thinking ?? []).map((part) => part.text ?? "").join("") }
      : { type: "text", text: said ?? "" },
  );
}

const newCall = { type: "tool_call", name: "", argumentsText: "", isStarted: false, isReady: false } as const;

function isCall(part: OpenPart): part is OpenCall {
  return part.type === "tool_call";
}

/** Some servers number every call 0, or none, and send each whole: another id, or a name after whole arguments, is another call. */
function isAnother({ index, id, function: called }: CallDelta, call: OpenCall): boolean {
  if (id && call.said !== "") return id !== call.said;
  return (index ?? undefined) === undefined && Boolean(called?.name) && isEarlyWhole(call);
}

function isEarlyWhole(call: OpenCall): boolean {
  if (!call.end.isReached()) return false;
  call.isJson ??= isWhole(call);
  return call.isJson;
}

function isWhole({ argumentsText }: Pick<OpenCall, "argumentsText">): boolean {
  return parseArguments(argumentsText) !== undefined;
}

function announce(call: OpenCall): readonly ModelEvent[] {
  if (call.isReady) return [];
  call.isReady = true;
  const { callId, name, argumentsText } = call;
  return [{ type: "tool.ready", callId, name, argumentsText }];
}

function toToolCall({ callId, name, argumentsText }: OpenCall): AnswerPart & { type: "tool_call" } {
  return { type: "tool_call", callId, name, argumentsText };
}

/** Gateways say images as `data:` URLs; what is elsewhere is not fetched. */
function toImages(url: string): readonly (AnswerPart & { type: "image" })[] {
  const [, mimeType, data] = /^data:(image\/[\w.+-]+);base64,(.+)$/s.exec(url) ?? [];
  return mimeType === undefined || data === undefined ? [] : [{ type: "image", mimeType, data }];
}

/**
 * The answer as the assistant message that the endpoint knows it by, when it asks for tools: until they have answered, some endpoints want
 * its reasoning back, its own ids, or a signature beside a call. Undefined where its calls can't go back as they are.
 */
function toMessage(parts: readonly OpenPart[], reasoningField: string): Json | undefined {
  const calls = parts.filter(isCall);
  const areApart =
    new Set(calls.map(({ said }) => said)).size === calls.length && calls.every(({ said }) => said !== "");
  // The templates of many servers fail at arguments that are no object.
  if (calls.length === 0 || !areApart || !calls.every(isWhole)) return undefined;
  const [content, reasoning] = [joinTexts(parts, "text"), joinTexts(parts, "reasoning")];
  return {
    role: "assistant",
    content: content === "" ? null : content,
    ...(reasoning === "" ? {} : { [reasoningField]: reasoning }),
    tool_calls: calls.map(({ said, name, argumentsText, more }) => ({
      ...more,
      id: said,
      type: "function",
      function: { name, arguments: argumentsText },
    })),
  };
}

function joinTexts(parts: readonly OpenPart[], type: "text" | "reasoning"): string {
  return parts.flatMap((part) => (part.type === type ? [part.text] : [])).join("");
}

/** Words of vLLM, SGLang and gateways for an answer that they did not bring to its end. */
function isBroken(reason: string): boolean {
  return reason === "abort" || reason === "error";
}

/** The reasons for which an answer may end in the middle of a call. */
function isCut(reason: string): boolean {
  return reason === "length" || reason === "content_filter";
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

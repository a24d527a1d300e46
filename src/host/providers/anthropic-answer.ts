import { z } from "zod";
import type { AnswerPart, Stop, Usage } from "../../core/event.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import { estimateTokens, estimateUsage } from "../price.ts";
import type { ModelEvent, ModelRequest } from "../provider.ts";
import { parseArguments } from "./call-arguments.ts";
import type { WireCall } from "./wire.ts";
import { WireObject } from "./wire-object.ts";
import { TokenCount, openCallIds, toRaw } from "./wire.ts";

/** How many blocks one answer may hold. */
const maxBlocks = 512;

const index = z
  .int()
  .min(0)
  .max(maxBlocks - 1);

/** Cumulative: a later one stands for those before it. */
const Counts = z.object({
  input_tokens: TokenCount,
  output_tokens: TokenCount,
  cache_read_input_tokens: TokenCount,
  cache_creation_input_tokens: TokenCount,
  cache_creation: z.object({ ephemeral_1h_input_tokens: TokenCount }).nullish().catch(null),
  output_tokens_details: z.object({ thinking_tokens: TokenCount }).nullish().catch(null),
});
type Counts = Partial<z.infer<typeof Counts>>;

const usage = Counts.nullish().catch(null);

/** What Capstan reads of the events of a streamed message. The API may add others, and fields to these. */
const StreamEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("message_start"), message: z.object({ usage }) }),
  z.object({ type: z.literal("content_block_start"), index, content_block: WireObject }),
  z.object({
    type: z.literal("content_block_delta"),
    index,
    delta: z.object({
      text: z.string().optional(),
      thinking: z.string().optional(),
      partial_json: z.string().optional(),
      signature: z.string().optional(),
    }),
  }),
  z.object({ type: z.literal("content_block_stop"), index }),
  z.object({ type: z.literal("message_delta"), delta: z.object({ stop_reason: z.string().nullish() }), usage }),
]);
const Other = z.object({
  type: z.string().refine((type) => !StreamEvent.options.some(({ shape }) => shape.type.value === type)),
});

/** A block of the message, as far as it has come. */
interface OpenBlock {
  /** As it began, which is all of it where nothing follows, such as redacted thinking. */
  readonly start: JsonObject;
  /** What followed: text, thinking, or the text of a call's arguments. */
  text: string;
  signature: string;
  /** It has come to its end. Looked into again with each of many ends, a long call would take hours. */
  isClosed: boolean;
  /** Of a tool call. */
  readonly call?: { readonly callId: string; readonly name: string; readonly index: number };
}

export interface MessageAnswer {
  /** What one more event says. Throws `provider.bad_answer` for what is no event of a message. */
  push(event: unknown): readonly ModelEvent[];
  /** The last events; none when the message had not come to its end. */
  end(): readonly ModelEvent[];
}

/** Puts the events of one streamed message together. */
export function openMessageAnswer(request: ModelRequest, wire: Pick<WireCall, "wire" | "badAnswer">): MessageAnswer {
  const blocks = new Map<number, OpenBlock>();
  const ready = new Set<OpenBlock>();
  let counts: Counts = {};
  let stopReason: string | undefined;
  let calls = 0;
  const toId = openCallIds();

  function open(at: number, start: JsonObject): readonly ModelEvent[] {
    if (blocks.has(at)) throw wire.badAnswer(`two blocks with the number ${at}`);
    if (start["type"] !== "tool_use") {
      const block = { start, text: "", signature: toText(start["signature"]), isClosed: false };
      blocks.set(at, block);
      return add(block, toText(start["text"]) + toText(start["thinking"]));
    }
    const name = toText(start["name"]);
    if (name === "") throw wire.badAnswer("a tool call without a name");
    const call = { callId: toId(toText(start["id"])), name, index: calls };
    calls += 1;
    blocks.set(at, { start, text: "", signature: "", isClosed: false, call });
    return [{ type: "tool.started", ...call }];
  }

  function add(block: OpenBlock, text: string): readonly ModelEvent[] {
    block.text += text;
    if (text === "") return [];
    if (block.call !== undefined) return [{ type: "tool.delta", callId: block.call.callId, text }];
    switch (block.start["type"]) {
      case "text":
        return [{ type: "text.delta", text }];
      case "thinking":
        return [{ type: "reasoning.delta", text }];
      default:
        // What the provider's own tools are asked is no word of the model to anybody here.
        return [];
    }
  }

  function close(block: OpenBlock): readonly ModelEvent[] {
    if (block.isClosed) return [];
    block.isClosed = true;
    // Whether no arguments at all are complete shows only when the message ends.
    return isWhole(block) ? announce(block) : [];
  }

  function announce(block: OpenBlock): readonly ModelEvent[] {
    if (block.call === undefined || ready.has(block)) return [];
    ready.add(block);
    const { callId, name } = block.call;
    return [{ type: "tool.ready", callId, name, argumentsText: toArgumentsText(block) }];
  }

  return {
    push(raw) {
      const parsed = StreamEvent.safeParse(raw);
      if (!parsed.success) {
        if (Other.safeParse(raw).success) return [];
        throw wire.badAnswer("an event that is not one of the Messages API", parsed.error);
      }
      const event = parsed.data;
      switch (event.type) {
        case "message_start":
          counts = merge(counts, event.message.usage);
          return [];
        case "content_block_start":
          return open(event.index, event.content_block);
        case "message_delta":
          counts = merge(counts, event.usage);
          stopReason = event.delta.stop_reason || stopReason;
          return [];
        default: {
          const block = blocks.get(event.index);
          if (block === undefined) throw wire.badAnswer(`more of a block ${event.index} that has not begun`);
          if (event.type === "content_block_stop") return close(block);
          const { text, thinking, partial_json, signature = "" } = event.delta;
          const added = text ?? thinking ?? partial_json ?? "";
          if (block.isClosed && added + signature !== "")
            throw wire.badAnswer(`more of a block ${event.index} that has ended`);
          block.signature += signature;
          return add(block, added);
        }
      }
    },
    end() {
      if (stopReason === undefined) return [];
      const stop = toStop(stopReason, calls > 0);
      const kept = toKept([...blocks.values()], stop);
      const parts = kept.flatMap(toParts);
      const raw = stop === "refusal" ? undefined : toVerbatim(kept, stop);
      return [
        ...kept.flatMap(announce),
        {
          type: "message.ended",
          parts,
          stop,
          usage: toUsage(counts, request, parts),
          ...(raw === undefined ? {} : { raw: toRaw(raw, wire, request) }),
        },
      ];
    },
  };
}

/** Without a call that was cut off, and without any call of an answer that was broken off as a refusal. */
function toKept(blocks: readonly OpenBlock[], stop: Stop): readonly OpenBlock[] {
  if (stop === "refusal") return blocks.filter(({ call }) => call === undefined);
  const last = blocks.at(-1);
  const isCut = (stop === "length" || stop === "context_full") && last?.call !== undefined && !isWhole(last);
  return isCut ? blocks.slice(0, -1) : blocks;
}

function toParts(block: OpenBlock): readonly AnswerPart[] {
  const { start, text, call } = block;
  if (call !== undefined) {
    return [{ type: "tool_call", callId: call.callId, name: call.name, argumentsText: toArgumentsText(block) }];
  }
  if (text === "") return [];
  if (start["type"] === "text") return [{ type: "text", text }];
  return start["type"] === "thinking" ? [{ type: "reasoning", text }] : [];
}

/**
 * The blocks as they go back to this API, where they say more than the parts do: thinking, redacted thinking, or a turn that is paused.
 * Left out are thinking without its signature, which was cut off, thinking at the very end, and empty text, which the API sends but does
 * not take. Undefined where nothing but parts goes back, and where a call can't be given back as it was.
 */
function toVerbatim(blocks: readonly OpenBlock[], stop: Stop): Json | undefined {
  const isPlain = ({ start }: OpenBlock): boolean => start["type"] === "text" || start["type"] === "tool_use";
  if (stop !== "paused" && blocks.every(isPlain)) return undefined;
  const verbatim: JsonObject[] = [];
  for (const block of blocks) {
    const { start, text, signature } = block;
    if (start["type"] === "text") {
      if (text.trim() !== "") verbatim.push({ ...start, text });
    } else if (start["type"] === "thinking") {
      if (signature !== "") verbatim.push({ ...start, thinking: text, signature });
    } else if ("input" in start || block.call !== undefined) {
      const input = parseArguments(toArgumentsText(block));
      if (input === undefined) return undefined;
      verbatim.push({ ...start, ...(block.call === undefined ? {} : { id: block.call.callId }), input });
    } else verbatim.push(start);
  }
  // With nothing behind it, thinking is refused.
  const isThought = ({ type }: JsonObject): boolean => type === "thinking" || type === "redacted_thinking";
  const said = verbatim.slice(0, verbatim.findLastIndex((block) => !isThought(block)) + 1);
  return said.length === 0 ? undefined : said;
}

/** Some gateways send arguments with the block's start, and nothing after it. */
function toArgumentsText({ start, text }: OpenBlock): string {
  if (text !== "") return text;
  const { input } = start;
  return isJsonObject(input) ? JSON.stringify(input) : "{}";
}

function isWhole({ start, text }: OpenBlock): boolean {
  if (text !== "") return parseArguments(text) !== undefined;
  return isJsonObject(start["input"]) && Object.keys(start["input"]).length > 0;
}

function toText(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

function toStop(reason: string, hasCalls: boolean): Stop {
  switch (reason) {
    case "max_tokens":
      return "length";
    case "pause_turn":
      return "paused";
    case "refusal":
      return "refusal";
    case "model_context_window_exceeded":
      return "context_full";
    default:
      return hasCalls ? "tool" : "end";
  }
}

function merge(before: Counts, after: Counts | null | undefined): Counts {
  const said = Object.entries(after ?? {}).filter(([, value]) => value !== null && value !== undefined);
  return { ...before, ...Object.fromEntries(said) };
}

/** Input is counted without what the cache took or gave; thinking is counted within the output. What nobody counted is estimated. */
function toUsage(counts: Counts, request: ModelRequest, parts: readonly AnswerPart[]): Usage {
  const { input_tokens: input, output_tokens: output } = counts;
  if (typeof input !== "number" || typeof output !== "number") {
    return { ...estimateUsage(request), output: estimateTokens(JSON.stringify(parts)) };
  }
  const written = counts.cache_creation_input_tokens ?? 0;
  const cacheWrite1h = Math.min(written, counts.cache_creation?.ephemeral_1h_input_tokens ?? 0);
  const reasoning = Math.min(output, counts.output_tokens_details?.thinking_tokens ?? 0);
  return {
    inputUncached: input,
    cacheRead: counts.cache_read_input_tokens ?? 0,
    cacheWrite5m: written - cacheWrite1h,
    cacheWrite1h,
    output: output - reasoning,
    reasoning,
  };
}

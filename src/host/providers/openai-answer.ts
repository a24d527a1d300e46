import { z } from "zod";
import type { AnswerPart, RawAnswer, Stop, Usage } from "../../core/event.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { estimateTokens, estimateUsage } from "../price.ts";
import type { ModelEvent, ModelRequest } from "../provider.ts";
import { parseArguments } from "./call-arguments.ts";
import type { WireCall } from "./wire.ts";
import { WireObject } from "./wire-object.ts";
import { TokenCount, openCallIds, toRaw } from "./wire.ts";

/** How many items one answer may hold. */
const maxItems = 512;

const index = z
  .int()
  .min(0)
  .max(maxItems - 1);
const text = z.string();

/** An item of the output, with all of its fields: it goes back as it came. */
const Item = WireObject;
const Part = z.object({ type: z.string(), text: text.optional(), refusal: text.optional() });
const Parts = z.array(Part).nullish();

const Response = z.object({
  status: text.nullish(),
  output: z.array(Item).max(maxItems).nullish(),
  incomplete_details: z.object({ reason: text.nullish() }).nullish(),
  error: z.object({ code: text.nullish(), message: text.nullish() }).nullish(),
  usage: z
    .object({
      input_tokens: TokenCount,
      output_tokens: TokenCount,
      input_tokens_details: z
        .object({
          cached_tokens: TokenCount,
          cache_write_tokens: TokenCount,
          cache_write_tokens_details: z.object({ ttl_12h_tokens: TokenCount }).nullish().catch(null),
        })
        .nullish()
        .catch(null),
      output_tokens_details: z.object({ reasoning_tokens: TokenCount }).nullish().catch(null),
    })
    .nullish()
    .catch(null),
});
type Response = z.infer<typeof Response>;

/** What Capstan reads of the events of a streamed response; there are many others, and more to come. */
const StreamEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal(["response.output_text.delta", "response.refusal.delta"]), delta: text }),
  z.object({
    type: z.literal(["response.reasoning_summary_text.delta", "response.reasoning_text.delta"]),
    delta: text,
  }),
  z.object({ type: z.literal("response.reasoning_summary_part.added"), summary_index: z.int() }),
  z.object({ type: z.literal("response.output_item.added"), output_index: index, item: Item }),
  z.object({ type: z.literal("response.function_call_arguments.delta"), output_index: index, delta: text }),
  z.object({ type: z.literal("response.function_call_arguments.done"), output_index: index, arguments: text }),
  z.object({ type: z.literal("response.output_item.done"), output_index: index, item: Item }),
  z.object({ type: z.literal(["response.completed", "response.incomplete", "response.failed"]), response: Response }),
  z.object({ type: z.literal("error"), code: text.nullish(), message: text.nullish() }),
]);
const known: ReadonlySet<unknown> = new Set(StreamEvent.options.flatMap(({ shape }) => [...shape.type.values]));

/** A tool call that is still coming in. */
interface OpenCall {
  readonly callId: string;
  readonly name: string;
  isReady: boolean;
}

/** Puts the events of one streamed response together. `push` throws `provider.*` for what is none, and for a response that failed. */
export function openResponse(
  request: ModelRequest,
  wire: Pick<WireCall, "badAnswer" | "broke" | "wire">,
): { push(event: unknown): readonly ModelEvent[] } {
  const items = new Map<number, JsonObject>();
  const calls = new Map<number, OpenCall>();
  const toCallId = openCallIds();

  function begin(place: number, item: JsonObject): readonly ModelEvent[] {
    if (item["type"] !== "function_call" || calls.has(place)) return [];
    const { name } = item;
    if (typeof name !== "string" || name === "") throw wire.badAnswer("a tool call without a name");
    const callId = toCallId(toText(item["call_id"]));
    calls.set(place, { callId, name, isReady: false });
    return [{ type: "tool.started", callId, name, index: calls.size - 1 }];
  }

  function ready(place: number, argumentsText: string): readonly ModelEvent[] {
    const call = calls.get(place);
    if (call === undefined || call.isReady) return [];
    call.isReady = true;
    return [{ type: "tool.ready", callId: call.callId, name: call.name, argumentsText }];
  }

  function end(response: Response): readonly ModelEvent[] {
    // A server may tell its items at the end alone, or number them all 0.
    const { output } = response;
    if (output && output.length > items.size) for (const [place, item] of output.entries()) items.set(place, item);
    const began = [...items].flatMap(([place, item]) => begin(place, item));
    const isCut = response.status === "incomplete";
    const ordered = [...items].sort(([a], [b]) => a - b);
    const refused = ordered.some(([, item]) => isRefusal(item));
    // A model that refuses has none of its calls performed; one that was cut, those that are whole.
    const isKept = (item: JsonObject): boolean =>
      item["type"] !== "function_call" || (!refused && (!isCut || isWhole(item)));
    const kept = ordered.filter(([, item]) => isKept(item));
    const parts = kept.flatMap(([place, item]) => toParts(item, calls.get(place)));
    const announced = kept.flatMap(([place, item]) => ready(place, toText(item["arguments"])));
    const said = kept.map(([, item]) => item);
    const blocks = toRawItems(said, isCut || refused);
    const raw: { raw?: RawAnswer } = blocks === undefined ? {} : { raw: toRaw(blocks, wire, request) };
    const usage = toUsage(response.usage, request, parts);
    return [...began, ...announced, { type: "message.ended", parts, stop: toStop(response, said), usage, ...raw }];
  }

  return {
    push(raw) {
      if (
        typeof raw === "object" &&
        raw !== null &&
        "type" in raw &&
        typeof raw.type === "string" &&
        !known.has(raw.type)
      )
        return [];
      const parsed = StreamEvent.safeParse(raw);
      if (!parsed.success) throw wire.badAnswer("an event that is not one of the Responses API", parsed.error);
      const event = parsed.data;
      switch (event.type) {
        case "response.output_text.delta":
        case "response.refusal.delta":
          return [{ type: "text.delta", text: event.delta }];
        case "response.reasoning_summary_text.delta":
        case "response.reasoning_text.delta":
          return [{ type: "reasoning.delta", text: event.delta }];
        case "response.reasoning_summary_part.added":
          return event.summary_index === 0 ? [] : [{ type: "reasoning.delta", text: paragraph }];
        case "response.output_item.added":
          return begin(event.output_index, event.item);
        case "response.function_call_arguments.delta": {
          const call = calls.get(event.output_index);
          return call === undefined ? [] : [{ type: "tool.delta", callId: call.callId, text: event.delta }];
        }
        case "response.function_call_arguments.done":
          // Whether no arguments at all are complete shows only when the response ends.
          return event.arguments === "" ? [] : ready(event.output_index, event.arguments);
        case "response.output_item.done":
          items.set(event.output_index, event.item);
          return begin(event.output_index, event.item);
        case "error":
          throw toFailure(event, wire);
        default:
          if (event.type === "response.failed") {
            const { error, usage } = event.response;
            throw toFailure(error ?? {}, wire, usage ? toUsage(usage, request, []) : undefined);
          }
          return end(event.response);
      }
    },
  };
}

/** Between the parts of a summary. */
const paragraph = "\n\n";

function toParts(item: JsonObject, call: OpenCall | undefined): readonly AnswerPart[] {
  switch (item["type"]) {
    case "message":
      return readParts(item["content"]).map(({ text: said, refusal }) => ({
        type: "text",
        text: said ?? refusal ?? "",
      }));
    case "reasoning": {
      const told = [...readParts(item["summary"]), ...readParts(item["content"])].map(({ text: said = "" }) => said);
      return told.length === 0 ? [] : [{ type: "reasoning", text: told.join(paragraph) }];
    }
    case "function_call": {
      if (call === undefined) return [];
      // As it was announced.
      const { callId, name } = call;
      return [{ type: "tool_call", callId, name, argumentsText: toText(item["arguments"]) }];
    }
    case "image_generation_call": {
      const { result, output_format: format } = item;
      if (typeof result !== "string") return [];
      return [{ type: "image", mimeType: `image/${typeof format === "string" ? format : "png"}`, data: result }];
    }
    default:
      return [];
  }
}

function readParts(value: Json | undefined): readonly z.infer<typeof Part>[] {
  return Parts.safeParse(value).data ?? [];
}

function isRefusal(item: JsonObject): boolean {
  return readParts(item["content"]).some(({ type }) => type === "refusal");
}

function isWhole(item: JsonObject): boolean {
  return parseArguments(toText(item["arguments"])) !== undefined;
}

function toText(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/**
 * The items as they go back to this API, where they say more than the parts do: reasoning, the phase of a message, what a tool of the
 * provider's own did. Undefined where nothing but parts goes back, where the answer was cut or refused, where calls have no ids of their
 * own, and where what it thought was kept there: with `store: false` nobody finds it again, and the items behind it are refused without it.
 */
function toRawItems(items: readonly JsonObject[], isBroken: boolean): Json | undefined {
  const isPlain = ({ type, phase }: JsonObject): boolean =>
    type === "function_call" || (type === "message" && (phase ?? null) === null);
  const ids = items.flatMap((item) => (item["type"] === "function_call" ? [toText(item["call_id"])] : []));
  const areApart = new Set(ids).size === ids.length && !ids.includes("");
  const isLost = ({ type, encrypted_content: sealed, content }: JsonObject): boolean =>
    type === "reasoning" && !sealed && readParts(content).length === 0;
  return isBroken || !areApart || items.every(isPlain) || items.some(isLost) ? undefined : items;
}

function toStop({ status, incomplete_details: why }: Response, items: readonly JsonObject[]): Stop {
  if (status === "incomplete") return why?.reason === "content_filter" ? "filtered" : "length";
  if (items.some(isRefusal)) return "refusal";
  return items.some((item) => item["type"] === "function_call") ? "tool" : "end";
}

/** Failures that may pass by themselves; the others are about the request. */
function toFailure(
  { code, message }: { code?: string | null | undefined; message?: string | null | undefined },
  wire: Pick<WireCall, "broke">,
  usage?: Usage,
) {
  const said = [code, message].filter(Boolean).join(": ") || "it gave no reason";
  if (code === "rate_limit_exceeded") return wire.broke("provider.rate_limited", said, usage);
  if (code === "insufficient_quota") return wire.broke("provider.sign_in", said, usage);
  const passes = code === undefined || code === null || /^(?:server_error|.*timeout|.*overloaded.*)$/.test(code);
  return wire.broke(passes ? "provider.unavailable" : "provider.bad_request", said, usage);
}

/**
 * Cached and written tokens are counted within the input, reasoning within the output. Writes that are kept for 30 minutes are told as
 * those of five, and those of twelve hours as those of one: the shorter and the longer. What nobody counted is estimated.
 */
function toUsage(counted: Response["usage"], request: ModelRequest, parts: readonly AnswerPart[]): Usage {
  const { input_tokens: input, output_tokens: output, input_tokens_details: cache } = counted ?? {};
  if (typeof input !== "number" || typeof output !== "number") {
    return { ...estimateUsage(request), output: estimateTokens(JSON.stringify(parts)) };
  }
  const cacheRead = Math.min(input, cache?.cached_tokens ?? 0);
  const written = Math.min(input - cacheRead, cache?.cache_write_tokens ?? 0);
  const cacheWrite1h = Math.min(written, cache?.cache_write_tokens_details?.ttl_12h_tokens ?? 0);
  const reasoning = Math.min(output, counted?.output_tokens_details?.reasoning_tokens ?? 0);
  return {
    inputUncached: input - cacheRead - written,
    cacheRead,
    cacheWrite5m: written - cacheWrite1h,
    cacheWrite1h,
    output: output - reasoning,
    reasoning,
  };
}

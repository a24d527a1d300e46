import type {
  ContentBlockParam,
  ImageBlockParam,
  MessageCreateParamsStreaming,
  MessageParam,
  OutputConfig,
  TextBlockParam,
  ThinkingConfigParam,
  ToolResultBlockParam,
} from "@anthropic-ai/sdk/resources/messages";
import type { Block, ModelSettings } from "../../core/event.ts";
import type { Json, JsonSchema } from "../../core/json.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { ModelRequest } from "../provider.ts";
import { toResultText } from "../../core/result-text.ts";
import { toAnthropicTool } from "./anthropic-tool.ts";
import { toCallArguments } from "./call-arguments.ts";
import type { WireCall } from "./wire.ts";
import { rawBlocks } from "./wire.ts";

type Assistant = ContextMessage & { readonly role: "assistant" };
type ToolMessage = ContextMessage & { readonly role: "tool" };

/** The least that a thinking budget may be, and what the levels mean, in tokens. */
export const minBudget = 1_024;
const budgets = { low: 2_048, medium: 8_192, high: 16_384 } as const;
/** The API wants a bound on every answer. These are within that of each model of their kind, thinking included. */
const answerTokens = 8_192;
const adaptiveTokens = 32_000;

/** The end of a prompt up to which the provider may keep it for five minutes. */
const breakpoint = { cache_control: { type: "ephemeral" as const } };

/**
 * A model request as the body of the Messages API (version 2026-10-21). What this endpoint and model said goes back verbatim; of what
 * another one said, its text and its calls do. `toEnforced` makes a schema one that the API takes; undefined where there is none.
 */
export function toMessagesBody(
  request: ModelRequest,
  wire: Pick<WireCall, "wire">,
  toEnforced: (schema: JsonSchema) => Record<string, unknown> | undefined = () => undefined,
): MessageCreateParamsStreaming {
  const { model, system = "", tools, settings, answerSchema } = request;
  const { stop = [] } = settings;
  const schema = answerSchema === undefined ? undefined : toEnforced(answerSchema);
  const { thinking, effort, maxTokens } = toThinking(request, wire);
  const output: OutputConfig = {
    ...(effort === undefined ? {} : { effort }),
    ...(schema === undefined ? {} : { format: { type: "json_schema", schema } }),
  };
  return {
    model,
    max_tokens: maxTokens,
    stream: true,
    // Caches are built in the order tools, system, messages: a change in one leaves those before it warm.
    ...(tools.length === 0 ? {} : { tools: markLast(tools.map(toAnthropicTool)) }),
    ...(system.trim() === "" ? {} : { system: markLast<TextBlockParam>([{ type: "text", text: system }]) }),
    messages: toTurns(request, wire),
    ...(stop.length === 0 ? {} : { stop_sequences: [...stop] }),
    ...(thinking === undefined ? {} : { thinking }),
    ...(Object.keys(output).length === 0 ? {} : { output_config: output }),
  };
}

/** What a model is told of how much to think, and how long its answer may be. */
function toThinking(
  request: ModelRequest,
  wire: Pick<WireCall, "wire">,
): {
  readonly thinking?: ThinkingConfigParam;
  readonly effort?: Exclude<ModelSettings["reasoning"], "off" | undefined>;
  readonly maxTokens: number;
} {
  const { maxOutputTokens, reasoning } = request.settings;
  const takesBudget = wantsBudget(request.model);
  const level = reasoning === "off" ? undefined : reasoning;
  const budget = takesBudget && level !== undefined ? budgets[level] : 0;
  const maxTokens = maxOutputTokens ?? (takesBudget ? answerTokens + budget : adaptiveTokens);
  if (level === undefined) return { ...(reasoning === "off" ? { thinking: { type: "disabled" } } : {}), maxTokens };
  // Without being asked for, some models keep the text of their thinking to themselves.
  const display = "summarized" as const;
  if (!takesBudget) return { thinking: { type: "adaptive", display }, effort: level, maxTokens };
  // A turn that began without thinking, such as another model's, may not go on with it.
  if (maxTokens <= minBudget || isUnthought(request, wire)) return { thinking: { type: "disabled" }, maxTokens };
  // Of a bound that the user set, at least half is for the answer, as far as the API allows.
  const most = maxOutputTokens === undefined ? budget : Math.max(minBudget, Math.floor(maxTokens / 2));
  return { thinking: { type: "enabled", budget_tokens: Math.min(budget, most), display }, maxTokens };
}

/** Models before Claude 4.6 think by budget; those after it decide by themselves, and most of them refuse a budget. */
export function wantsBudget(model: string): boolean {
  const version = /claude-(?:3|[a-z]+-4(?:[-.](\d{1,2}))?)(?!\d)/.exec(model);
  return version !== null && Number(version[1] ?? 0) < 6;
}

/** Whether a turn is under way that did not begin with thinking that goes back. What a user says beside results begins none. */
function isUnthought(request: ModelRequest, wire: Pick<WireCall, "wire">): boolean {
  const { messages } = request;
  const begun = messages.findLastIndex(({ role }, place) => role === "user" && messages[place - 1]?.role !== "tool");
  const first = messages.find((message, place) => place > begun && message.role === "assistant");
  if (first?.role !== "assistant") return false;
  const [block] = toRawBlocks(first, request, wire) ?? [];
  return block?.type !== "thinking" && block?.type !== "redacted_thinking";
}

/** Users and tools speak in one message between two of the model, its results first. */
function toTurns(request: ModelRequest, wire: Pick<WireCall, "wire">): MessageParam[] {
  const turns: MessageParam[] = [];
  const ids = new Map<string, string>();
  let results: ToolResultBlockParam[] = [];
  let said: ContentBlockParam[] = [];
  const close = (): void => {
    const content = [...results, ...said];
    if (content.length > 0) turns.push({ role: "user", content });
    [results, said] = [[], []];
  };
  for (const message of request.messages) {
    if (message.role === "tool") results.push(toResult(message, ids.get(message.callId) ?? message.callId));
    else if (message.role === "user") said.push(...toBlocks(message.content));
    else {
      const raw = toRawBlocks(message, request, wire);
      const content = raw ?? toAnswerBlocks(message);
      if (content.length === 0) continue;
      close();
      turns.push({ role: "assistant", content });
      if (raw !== undefined) for (const [ours, theirs] of pairCalls(message, raw)) ids.set(ours, theirs);
      // What another model has paused, this one can only be asked to go on with: many take no answer that is begun for them.
      else if (message === request.messages.at(-1)) said.push({ type: "text", text: "Go on." });
    }
  }
  close();
  const last = turns.at(-1);
  // A paused answer is the last message, and goes back as it is.
  if (last?.role !== "user" || typeof last.content === "string") return turns;
  return [...turns.slice(0, -1), { role: "user", content: markLast(last.content) }];
}

function markLast<T extends object>(items: readonly T[]): T[] {
  return items.map((item, place) => (place === items.length - 1 ? { ...item, ...breakpoint } : item));
}

/** What was kept of an answer in this API's own form, when it is this endpoint's and model's and its calls are those that are known. */
function toRawBlocks(
  message: Assistant,
  request: ModelRequest,
  wire: Pick<WireCall, "wire">,
): ContentBlockParam[] | undefined {
  const blocks: Json | undefined = rawBlocks(message, wire, request);
  if (!isBlocks(blocks)) return undefined;
  const known = message.parts.filter(({ type }) => type === "tool_call").length;
  return blocks.filter(({ type }) => type === "tool_use").length === known ? blocks : undefined;
}

function isBlocks(value: unknown): value is ContentBlockParam[] {
  return (
    Array.isArray(value) && value.length > 0 && value.every((block: unknown) => isObject(block) && "type" in block)
  );
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Our ids of an answer's calls beside the provider's own. */
function pairCalls(message: Assistant, blocks: readonly ContentBlockParam[]): readonly (readonly [string, string])[] {
  const calls = message.parts.filter((part) => part.type === "tool_call");
  const uses = blocks.filter((block) => block.type === "tool_use");
  return calls.flatMap(({ callId }, place) => {
    const use = uses[place];
    return use === undefined ? [] : [[callId, use.id] as const];
  });
}

/** What another model said: an image is named, as no answer can hold one here. Thinking without a signature is refused. */
function toAnswerBlocks({ parts }: Assistant): ContentBlockParam[] {
  return parts.flatMap((part): ContentBlockParam[] => {
    switch (part.type) {
      case "text":
        return toTexts(part.text);
      case "image":
        return toTexts(`(an image, ${part.mimeType})`);
      case "tool_call":
        return [{ type: "tool_use", id: part.callId, name: part.name, input: toCallArguments(part.argumentsText) }];
      default:
        return [];
    }
  });
}

/** Its text names the images, which stand behind it in the same order. */
function toResult({ outcome }: ToolMessage, tool_use_id: string): ToolResultBlockParam {
  const content = [...toTexts(toResultText(outcome)), ...(outcome.content ?? []).flatMap(toImages)];
  return { type: "tool_result", tool_use_id, content, ...(outcome.isError ? { is_error: true } : {}) };
}

function toBlocks(content: readonly Block[]): ContentBlockParam[] {
  return content.flatMap((block): ContentBlockParam[] => {
    if (block.type === "text") return toTexts(block.text);
    const images = toImages(block);
    return images.length > 0 ? images : toTexts(toResultText({ content: [block], isError: false }));
  });
}

/** The API refuses a text of nothing but space. */
function toTexts(text: string): TextBlockParam[] {
  return text.trim() === "" ? [] : [{ type: "text", text }];
}

function toImages(block: Block): ImageBlockParam[] {
  if (block.type !== "image") return [];
  const { mimeType: media_type, data } = block;
  return isImageType(media_type) ? [{ type: "image", source: { type: "base64", media_type, data } }] : [];
}

const imageTypes = ["image/jpeg", "image/png", "image/gif", "image/webp"] as const;

function isImageType(type: string): type is (typeof imageTypes)[number] {
  return imageTypes.some((known) => known === type);
}

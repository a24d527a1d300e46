import type {
  FunctionTool,
  ResponseCreateParamsStreaming,
  ResponseFunctionCallOutputItem,
  ResponseInputContent,
  ResponseInputItem,
} from "openai/resources/responses/responses";
import type { Block } from "../../core/event.ts";
import { isJsonObject } from "../../core/json.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { ModelRequest } from "../provider.ts";
import { toResultText } from "../../core/result-text.ts";
import { joinUsers } from "./chat-body.ts";
import { alwaysReasons, isPlain, reasons, takesSampling } from "./openai-models.ts";
import { toFunction } from "./openai-tool.ts";
import { isStrict } from "./strict-schema.ts";
import type { WireCall } from "./wire.ts";
import { rawBlocks } from "./wire.ts";

type Assistant = ContextMessage & { readonly role: "assistant" };
type ToolMessage = ContextMessage & { readonly role: "tool" };

/** A model request as the body of the Responses API. Nothing is stored there: what the model must know again is sent again. */
export function toResponsesBody(request: ModelRequest, wire: Pick<WireCall, "wire">): ResponseCreateParamsStreaming {
  const { model, system = "", tools, settings, answerSchema, cacheKey } = request;
  // The API refuses every other root; the host checks the answer in any case.
  const schema = answerSchema?.["type"] === "object" ? answerSchema : undefined;
  const { maxOutputTokens, reasoning } = settings;
  const { temperature, topP } = takesSampling(model, reasoning) ? settings : {};
  return {
    model,
    input: toItems(request, wire),
    stream: true,
    store: false,
    ...(system === "" ? {} : { instructions: system }),
    ...(tools.length === 0 ? {} : { tools: tools.map(toTool) }),
    ...(maxOutputTokens === undefined ? {} : { max_output_tokens: maxOutputTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...toReasoning(request),
    ...(schema === undefined
      ? {}
      : { text: { format: { type: "json_schema", name: "answer", schema, strict: isStrict(schema) } } }),
    ...(cacheKey === undefined ? {} : { prompt_cache_key: cacheKey }),
  };
}

/**
 * Models that don't reason refuse every word about it. Names of the others are known, and where people deploy a model under a name of
 * their own, a setting tells. A summary is asked for only with a setting: OpenAI refuses it to organizations that are not verified.
 */
function toReasoning({ model, settings: { reasoning } }: ModelRequest) {
  if (isPlain(model) || (reasoning === undefined && !reasons(model))) return {};
  const level = reasoning === "off" && alwaysReasons(model) ? undefined : reasoning;
  if (level === "off") return { reasoning: { effort: "none" as const } };
  return {
    ...(level === undefined ? {} : { reasoning: { effort: level, summary: "auto" as const } }),
    include: ["reasoning.encrypted_content" as const],
  };
}

function toTool(tool: ModelRequest["tools"][number]): FunctionTool {
  // Not strict, which takes fewer schemas still.
  return { type: "function", ...toFunction(tool), strict: false };
}

function toItems(request: ModelRequest, wire: Pick<WireCall, "wire">): ResponseInputItem[] {
  /** Our ids of calls beside those under which the endpoint knows them. */
  const ids = new Map<string, string>();
  return joinUsers(request.messages).flatMap((message): readonly ResponseInputItem[] => {
    if (message.role === "user") return [{ role: "user", content: toContent(message.content) }];
    if (message.role === "tool") return [toOutput(message, ids.get(message.callId) ?? message.callId)];
    const own = toOwn(message, rawBlocks(message, wire, request));
    for (const [ours, theirs] of own?.ids ?? []) ids.set(ours, theirs);
    return own?.items ?? toPlainItems(message);
  });
}

/** What the endpoint said, as it goes back to it, and its ids of the calls beside ours. */
function toOwn({ parts }: Assistant, raw: unknown) {
  if (!isItems(raw)) return undefined;
  const calls = parts.filter((part) => part.type === "tool_call");
  const theirs = raw.flatMap((item) => (item.type === "function_call" ? [item.call_id] : []));
  if (calls.length !== theirs.length) return undefined;
  return { items: raw, ids: calls.map(({ callId }, place) => [callId, theirs[place] ?? callId] as const) };
}

/** What `toRawItems` of openai-answer.ts made; a log may come from elsewhere. */
function isItems(raw: unknown): raw is ResponseInputItem[] {
  return Array.isArray(raw) && raw.length > 0 && raw.every(isItem);
}

/** No answer holds what a user or a developer says. */
function isItem(item: unknown): boolean {
  if (!isJsonObject(item) || typeof item["type"] !== "string") return false;
  return item["type"] !== "message" || item["role"] === "assistant";
}

/** What was said elsewhere: its text and calls. An image is named, and reasoning stays behind. */
function toPlainItems({ parts }: Assistant): readonly ResponseInputItem[] {
  return parts.flatMap((part): readonly ResponseInputItem[] => {
    switch (part.type) {
      case "text":
        return [{ role: "assistant", content: part.text }];
      case "image":
        return [{ role: "assistant", content: `(an image, ${part.mimeType})` }];
      case "tool_call": {
        const { callId, name, argumentsText } = part;
        return [
          { type: "function_call", call_id: callId, name, arguments: argumentsText === "" ? "{}" : argumentsText },
        ];
      }
      default:
        return [];
    }
  });
}

function toOutput({ outcome }: ToolMessage, call_id: string): ResponseInputItem {
  const content = outcome.content ?? [];
  const images = content.filter((block) => block.type === "image");
  if (images.length === 0) return { type: "function_call_output", call_id, output: toResultText(outcome) };
  const text = toResultText({ ...outcome, content: content.filter(({ type }) => type !== "image") });
  const output: ResponseFunctionCallOutputItem[] = [{ type: "input_text", text }, ...images.map(toImage)];
  return { type: "function_call_output", call_id, output };
}

function toContent(content: readonly Block[]): ResponseInputContent[] {
  return content.map((block) => {
    if (block.type === "image") return toImage(block);
    const text = block.type === "text" ? block.text : toResultText({ content: [block], isError: false });
    return { type: "input_text", text };
  });
}

function toImage({ mimeType, data }: Block & { readonly type: "image" }) {
  return { type: "input_image" as const, detail: "auto" as const, image_url: `data:${mimeType};base64,${data}` };
}

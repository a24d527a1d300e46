import type { ChatCompletionCreateParamsStreaming, ChatCompletionMessageParam } from "openai/resources";
import type { Block } from "../../core/event.ts";
import { isJsonObject, sha256 } from "../../core/json.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { ModelRequest } from "../provider.ts";
import { toResultText } from "../../core/result-text.ts";
import { toCallArguments } from "./call-arguments.ts";
import { toFunction } from "./openai-tool.ts";
import { isStrict } from "./strict-schema.ts";
import type { WireCall } from "./wire.ts";
import { rawBlocks } from "./wire.ts";

type Assistant = ContextMessage & { readonly role: "assistant" };

/** A model request as the body of Chat Completions. */
export function toChatBody(request: ModelRequest, wire: Pick<WireCall, "wire">): ChatCompletionCreateParamsStreaming {
  const { model, system, tools, settings } = request;
  // Many servers hold every word to the schema, and then no call can be written.
  const schema = tools.length === 0 ? request.answerSchema : undefined;
  const { maxOutputTokens, temperature, topP, stop = [], seed, reasoning = "off" } = settings;
  const head: ChatCompletionMessageParam[] = system === undefined ? [] : [{ role: "system", content: system }];
  const format = (of: NonNullable<typeof schema>) => ({
    name: "answer",
    schema: of,
    ...(isStrict(of) ? { strict: true } : {}),
  });
  return {
    model,
    messages: [...head, ...toChatMessages(request, wire)],
    stream: true,
    stream_options: { include_usage: true },
    // Some servers refuse an empty list.
    ...(tools.length === 0
      ? {}
      : { tools: tools.map((tool) => ({ type: "function" as const, function: toFunction(tool) })) }),
    // `max_completion_tokens` is known to OpenAI's own endpoint alone.
    ...(maxOutputTokens === undefined ? {} : { max_tokens: maxOutputTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(stop.length === 0 ? {} : { stop: [...stop] }),
    ...(seed === undefined ? {} : { seed }),
    ...(reasoning === "off" ? {} : { reasoning_effort: reasoning }),
    ...(schema === undefined ? {} : { response_format: { type: "json_schema", json_schema: format(schema) } }),
  };
}

/** Messages of tools hold text alone, so their images follow the results of a turn as a message of the user. */
function toChatMessages(
  { messages, model }: ModelRequest,
  wire: Pick<WireCall, "wire">,
): readonly ChatCompletionMessageParam[] {
  const turnAt = messages.findLastIndex(({ role }) => role === "user");
  const own = messages.map((message, place) => {
    if (message.role !== "assistant") return undefined;
    return toOwn(message, rawBlocks(message, wire, { model }), place > turnAt);
  });
  /** Our ids of calls beside those under which the endpoint knows them. */
  const ids = new Map(own.flatMap((one) => one?.ids ?? []));
  const shown: ContextMessage[] = [];
  let images: Block[] = [];
  const sent = new Map<ContextMessage, ChatCompletionMessageParam>();
  for (const [place, message] of messages.entries()) {
    if (message.role !== "tool" && images.length > 0) {
      shown.push({ role: "user", content: images });
      images = [];
    }
    const said = own[place]?.message;
    if (said !== undefined) sent.set(message, said);
    if (message.role === "tool") images.push(...imagesOf(message));
    shown.push(message);
  }
  if (images.length > 0) shown.push({ role: "user", content: images });
  return joinUsers(shown).map((message) => sent.get(message) ?? toChatMessage(message, ids));
}

/** What an endpoint said, as it goes back to it: its reasoning only while the turn is under way, as no endpoint wants it later. */
function toOwn({ parts }: Assistant, raw: unknown, isUnderWay: boolean) {
  if (!isChatMessage(raw)) return undefined;
  const { reasoning_content: _, reasoning: __, ...rest } = raw;
  const calls = parts.filter((part) => part.type === "tool_call");
  if (calls.length !== raw.tool_calls.length) return undefined;
  const ids = calls.map(({ callId }, place) => [callId, raw.tool_calls[place]?.id ?? callId] as const);
  return { message: isUnderWay ? raw : rest, ids };
}

type OwnMessage = ChatCompletionMessageParam & {
  readonly role: "assistant";
  readonly reasoning_content?: unknown;
  readonly reasoning?: unknown;
  readonly tool_calls: readonly { readonly id: string }[];
};

/** What `toMessage` of chat-answer.ts made; a log may come from elsewhere. */
function isChatMessage(raw: unknown): raw is OwnMessage {
  if (typeof raw !== "object" || raw === null || !("tool_calls" in raw) || !("role" in raw)) return false;
  const { role, tool_calls: calls } = raw;
  return (
    role === "assistant" &&
    Array.isArray(calls) &&
    calls.every((call) => isJsonObject(call) && typeof call["id"] === "string")
  );
}

function imagesOf({ name, outcome }: ContextMessage & { readonly role: "tool" }): readonly Block[] {
  const images = (outcome.content ?? []).filter(({ type }) => type === "image");
  return images.length === 0 ? [] : [{ type: "text", text: `From the result of ${name}:` }, ...images];
}

/** Neighbouring user messages as one: the templates of many local models demand that user and assistant alternate. */
export function joinUsers(messages: readonly ContextMessage[]): readonly ContextMessage[] {
  const joined: ContextMessage[] = [];
  for (const message of messages) {
    const last = joined.at(-1);
    if (last?.role === "user" && message.role === "user") {
      joined[joined.length - 1] = { role: "user", content: [...last.content, ...message.content] };
    } else joined.push(message);
  }
  return joined;
}

function toChatMessage(message: ContextMessage, ids: ReadonlyMap<string, string>): ChatCompletionMessageParam {
  switch (message.role) {
    case "tool": {
      const { callId, outcome } = message;
      return { role: "tool", tool_call_id: ids.get(callId) ?? toChatCallId(callId), content: toResultText(outcome) };
    }
    case "user":
      return { role: "user", content: toUserContent(message.content) };
    default: {
      const text = message.parts.flatMap(toTexts).join("");
      const calls = message.parts.filter((part) => part.type === "tool_call");
      if (calls.length === 0) return { role: "assistant", content: text };
      const tool_calls = calls.map(({ callId, name, argumentsText }) => ({
        id: toChatCallId(callId),
        type: "function" as const,
        function: { name, arguments: JSON.stringify(toCallArguments(argumentsText)) },
      }));
      return { role: "assistant", content: text === "" ? null : text, tool_calls };
    }
  }
}

/** An id of the run's own as every server takes it: Mistral wants nine letters and digits, OpenAI forty at most. */
export function toChatCallId(callId: string): string {
  return sha256(callId).slice(0, 9);
}

/** Of what was said elsewhere, the reasoning stays behind, and an image is named. */
function toTexts(part: Assistant["parts"][number]): readonly string[] {
  if (part.type === "text") return [part.text];
  return part.type === "image" ? [`(an image, ${part.mimeType})`] : [];
}

function toUserContent(content: readonly Block[]) {
  if (content.every((block) => block.type === "text")) return content.map(({ text }) => text).join("\n\n");
  return content.map((block) => {
    if (block.type === "text") return { type: "text" as const, text: block.text };
    if (block.type !== "image")
      return { type: "text" as const, text: toResultText({ content: [block], isError: false }) };
    return { type: "image_url" as const, image_url: { url: `data:${block.mimeType};base64,${block.data}` } };
  });
}

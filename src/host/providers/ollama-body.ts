import type { ChatRequest, Message, Tool } from "ollama";
import type { AnswerPart, Block } from "../../core/event.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { JsonObject } from "../../core/json.ts";
import { isJsonObject } from "../../core/json.ts";
import type { ModelRequest } from "../provider.ts";
import { toResultText } from "../../core/result-text.ts";
import { toCallArguments } from "./call-arguments.ts";
import { joinUsers } from "./chat-body.ts";
import type { WireCall } from "./wire.ts";
import { rawBlocks } from "./wire.ts";

/** What the config says of an endpoint of Ollama. */
export interface OllamaOptions {
  /** The size of the context that the model is loaded with, in tokens. Missing: the run's window, else the server's own choice. */
  readonly contextTokens?: number | undefined;
  /** How long the model stays loaded after a call, as Ollama writes it: `1h30m`, seconds, `-1` for ever. Missing: the server's own choice. */
  readonly keepAlive?: string | number | undefined;
}

/** The fields of a request that the package's types don't have yet. */
type Body = ChatRequest & { readonly stream: true; readonly truncate: false; readonly shift: false };

/** A model request as the body of `/api/chat`. */
export function toOllamaBody(
  request: ModelRequest,
  wire: Pick<WireCall, "wire">,
  { contextTokens = request.windowTokens, keepAlive }: OllamaOptions = {},
): Body {
  const { model, system, messages, tools, settings, answerSchema } = request;
  const { temperature, topP, maxOutputTokens, seed, stop, reasoning } = settings;
  const options = {
    ...(contextTokens === undefined ? {} : { num_ctx: contextTokens }),
    ...(maxOutputTokens === undefined ? {} : { num_predict: maxOutputTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(seed === undefined ? {} : { seed }),
    ...(stop === undefined ? {} : { stop: [...stop] }),
  };
  return {
    model,
    messages: [
      ...(system === undefined ? [] : [{ role: "system", content: system }]),
      ...joinUsers(showResults(messages)).map((message) => toMessage(message, request, wire)),
    ],
    stream: true,
    // A context that is too long is an error that says so. By default its oldest messages, the task first, are left out without a word.
    truncate: false,
    shift: false,
    options,
    ...(tools.length === 0 ? {} : { tools: tools.map(toTool) }),
    // A format binds all that the model says: it could call no tool any more (ollama #8095).
    ...(answerSchema === undefined || tools.length > 0 ? {} : { format: answerSchema }),
    ...(reasoning === undefined ? {} : { think: toThink(model, reasoning) }),
    ...(keepAlive === undefined ? {} : { keep_alive: toKeepAlive(keepAlive) }),
  };
}

/** Levels are known to the gpt-oss models alone; the server refuses them for others. */
function toThink(model: string, reasoning: "off" | "low" | "medium" | "high"): boolean | "low" | "medium" | "high" {
  if (reasoning === "off") return false;
  return model.includes("gpt-oss") ? reasoning : true;
}

/** A bare number means seconds, whole or not, and has to be sent as one. */
function toKeepAlive(time: string | number): string | number {
  const seconds = Number(time);
  return Number.isNaN(seconds) ? time : seconds;
}

function toTool({ name, description, inputSchema }: ModelRequest["tools"][number]): Tool {
  return { type: "function", function: { name, description, parameters: { ...toPlain(inputSchema), type: "object" } } };
}

/** The server reads properties as objects, and for a schema that is `true` or `false` refuses the request. */
function toPlain(schema: JsonObject): JsonObject {
  const { properties } = schema;
  if (!isJsonObject(properties)) return schema;
  const plain = Object.entries(properties).map(([key, of]) => [key, isJsonObject(of) ? toPlain(of) : {}]);
  return { ...schema, properties: Object.fromEntries(plain) };
}

/** Pictures of results as words of the user right after them: templates look for none in a result. */
function showResults(messages: readonly ContextMessage[]): readonly ContextMessage[] {
  const shown: ContextMessage[] = [];
  let pictures: Block[] = [];
  const show = (): void => {
    if (pictures.length > 0) shown.push({ role: "user", content: pictures });
    pictures = [];
  };
  for (const message of messages) {
    if (message.role !== "tool") show();
    shown.push(message);
    const images =
      message.role === "tool" ? (message.outcome.content ?? []).filter(({ type }) => type === "image") : [];
    if (message.role === "tool" && images.length > 0) {
      pictures.push({ type: "text", text: `From ${message.name}:` }, ...images);
    }
  }
  show();
  return shown;
}

function toMessage(message: ContextMessage, request: ModelRequest, wire: Pick<WireCall, "wire">): Message {
  switch (message.role) {
    case "user":
      return toUser(message.content);
    case "tool":
      return { role: "tool", tool_name: message.name, content: toResultText(message.outcome) };
    default: {
      const text = message.parts.flatMap(toTexts).join("");
      const calls = message.parts.filter((part) => part.type === "tool_call");
      const raw = rawBlocks(message, wire, request);
      const thinking = isJsonObject(raw) ? raw["thinking"] : undefined;
      return {
        role: "assistant",
        content: text,
        ...(typeof thinking === "string" ? { thinking } : {}),
        ...(calls.length === 0
          ? {}
          : {
              tool_calls: calls.map(({ name, argumentsText }) => ({
                function: { name, arguments: { ...toCallArguments(argumentsText) } },
              })),
            }),
      };
    }
  }
}

/** An answer holds no images here, so one that another model made is named. */
function toTexts(part: AnswerPart): readonly string[] {
  if (part.type === "text") return [part.text];
  return part.type === "image" ? [`(an image, ${part.mimeType})`] : [];
}

function toUser(content: readonly Block[]): Message {
  const images = content.flatMap((block) => (block.type === "image" ? [block.data] : []));
  const texts = content.flatMap((block) => {
    if (block.type === "image") return [];
    return [block.type === "text" ? block.text : toResultText({ content: [block], isError: false })];
  });
  return { role: "user", content: texts.join("\n\n"), ...(images.length === 0 ? {} : { images }) };
}

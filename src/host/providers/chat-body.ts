import type { ChatCompletionCreateParamsStreaming, ChatCompletionMessageParam } from "openai/resources";
import type { AnswerPart, Block } from "../../core/event.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { ModelRequest } from "../provider.ts";
import { toResultText } from "../result-text.ts";

/** A model request as the body of Chat Completions. */
export function toChatBody(request: ModelRequest): ChatCompletionCreateParamsStreaming {
  const { model, system, messages, tools, maxOutputTokens, temperature } = request;
  const head: ChatCompletionMessageParam[] = system === undefined ? [] : [{ role: "system", content: system }];
  return {
    model,
    messages: [...head, ...joinUsers(messages).map(toChatMessage)],
    stream: true,
    stream_options: { include_usage: true },
    // Some servers refuse an empty list.
    ...(tools.length === 0 ? {} : { tools: tools.map(toChatTool) }),
    // `max_completion_tokens` is known to OpenAI's own endpoint alone.
    ...(maxOutputTokens === undefined ? {} : { max_tokens: maxOutputTokens }),
    ...(temperature === undefined ? {} : { temperature }),
  };
}

function toChatTool({ name, description, inputSchema }: ModelRequest["tools"][number]) {
  return { type: "function" as const, function: { name, description, parameters: { ...inputSchema } } };
}

/** Neighbouring user messages as one: the templates of many local models demand that user and assistant alternate. */
function joinUsers(messages: readonly ContextMessage[]): readonly ContextMessage[] {
  const joined: ContextMessage[] = [];
  for (const message of messages) {
    const last = joined.at(-1);
    if (last?.role === "user" && message.role === "user") {
      joined[joined.length - 1] = { role: "user", content: [...last.content, ...message.content] };
    } else joined.push(message);
  }
  return joined;
}

function toChatMessage(message: ContextMessage): ChatCompletionMessageParam {
  switch (message.role) {
    case "tool":
      return { role: "tool", tool_call_id: message.callId, content: toResultText(message.outcome) };
    case "user":
      return { role: "user", content: toUserContent(message.content) };
    default: {
      // Reasoning stays behind: the servers of this wire disagree on whether it may come back.
      const text = message.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("");
      const calls = message.parts.filter((part) => part.type === "tool_call");
      if (calls.length === 0) return { role: "assistant", content: text };
      return { role: "assistant", content: text === "" ? null : text, tool_calls: calls.map(toChatCall) };
    }
  }
}

function toChatCall({ callId, name, argumentsText }: AnswerPart & { type: "tool_call" }) {
  return {
    id: callId,
    type: "function" as const,
    function: { name, arguments: argumentsText === "" ? "{}" : argumentsText },
  };
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

import { z } from "zod";
import type { AnswerPart, Block, ModelTool } from "../../core/event.ts";
import { toResultText } from "../../core/result-text.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { ModelRequest } from "../provider.ts";

/**
 * How a model that has no calls of its own writes them: `json` as its whole message, `fenced` in a code block, `xml` between tags; `auto`:
 * any of these, and it is told of the tags.
 */
export const TextCallFormat = z.enum(["json", "fenced", "xml", "auto"]);
export type TextCallFormat = z.infer<typeof TextCallFormat>;

export const openTag = "<tool_call>";
export const closeTag = "</tool_call>";

type ToolMessage = ContextMessage & { readonly role: "tool" };
type ToolCall = AnswerPart & { readonly type: "tool_call" };

/**
 * The request as a model reads it that knows of no tools: they stand in its system prompt, calls and results in its messages. An answer
 * that is held to a schema could call none of them.
 */
export function toTextRequest(request: ModelRequest, format: TextCallFormat): ModelRequest {
  const { system, tools, answerSchema, ...rest } = request;
  const told = tools.length === 0 ? [] : [toInstruction(tools, format)];
  const parts = [...(system === undefined ? [] : [system]), ...told];
  return {
    ...rest,
    ...(answerSchema === undefined || tools.length > 0 ? {} : { answerSchema }),
    ...(parts.length === 0 ? {} : { system: parts.join("\n\n") }),
    messages: toTextMessages(request.messages, format),
    tools: [],
  };
}

function toInstruction(tools: readonly ModelTool[], format: TextCallFormat): string {
  const list = tools.map(({ name, description, inputSchema: parameters }) =>
    JSON.stringify({ name, description, parameters }),
  );
  return [
    "You can call the tools below, each with one JSON object of arguments that fits its parameters.",
    how[format],
    "Stop after your calls: their results come in the next message. Without a call, your message is your answer.",
    ...list,
  ].join("\n");
}

const shape = '{"name": "the tool", "arguments": {}}';
const tagged = `To call one, write ${openTag}${shape}${closeTag}, outside of any code block; several calls stand one after another.`;
const how: Readonly<Record<TextCallFormat, string>> = {
  json: `To call one, let your whole message be ${shape}, or a list of such objects, and no other word.`,
  fenced: `To call one, write a code block of the language tool_call that holds ${shape}, or a list of such objects.`,
  xml: tagged,
  auto: tagged,
};

function toTextMessages(messages: readonly ContextMessage[], format: TextCallFormat): readonly ContextMessage[] {
  const texts: ContextMessage[] = [];
  let results: ToolMessage[] = [];
  const flush = (): void => {
    if (results.length > 0) texts.push({ role: "user", content: results.flatMap(toBlocks) });
    results = [];
  };
  for (const message of messages) {
    if (message.role === "tool") {
      results.push(message);
      continue;
    }
    flush();
    texts.push(message.role === "assistant" ? toTextAnswer(message, format) : message);
  }
  flush();
  return texts;
}

function toTextAnswer(
  message: ContextMessage & { readonly role: "assistant" },
  format: TextCallFormat,
): ContextMessage {
  const calls = message.parts.filter((part) => part.type === "tool_call");
  if (calls.length === 0) return message;
  const parts = message.parts.filter((part) => part.type !== "tool_call");
  return { role: "assistant", parts: [...parts, { type: "text", text: toCallText(calls, format) }] };
}

function toCallText(calls: readonly ToolCall[], format: TextCallFormat): string {
  // What is no JSON was refused as such; the model sees it as it wrote it.
  const written = calls.map(
    ({ name, argumentsText }) => `{"name": ${JSON.stringify(name)}, "arguments": ${argumentsText || "{}"}}`,
  );
  const list = written.length === 1 ? written.join("") : `[${written.join(", ")}]`;
  if (format === "json") return list;
  if (format === "fenced") return `\n\`\`\`tool_call\n${list}\n\`\`\`\n`;
  return written.map((call) => `\n${openTag}\n${call}\n${closeTag}`).join("");
}

/** A result as a user says it. No `<` of it is left as such, so that nothing in it ends it. */
function toBlocks({ name, outcome }: ToolMessage): readonly Block[] {
  const { isError } = outcome;
  const about = { name, ...(isError ? { isError } : {}), content: toResultText(outcome) };
  const json = JSON.stringify(about).replaceAll("<", String.raw`\u003c`);
  const pictures = (outcome.content ?? []).filter((block) => block.type === "image");
  return [{ type: "text", text: `<tool_response>\n${json}\n</tool_response>` }, ...pictures];
}

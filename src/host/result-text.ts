import type { ToolOutcome } from "../core/event.ts";

/** The longest text of one tool result in a model's context, in UTF-16 units; more would crowd out the task. */
const maxResultChars = 100_000;

/** A tool's outcome as the text that a model reads: its value as JSON, then its content; cut with a sentence that says so. */
export function toResultText({ value, content = [] }: ToolOutcome): string {
  const blocks = content.map((block) => {
    switch (block.type) {
      case "text":
        return block.text;
      case "image":
      case "audio":
        return `(${block.type === "image" ? "an image" : "sound"}, ${block.mimeType})`;
      case "resource":
        return block.text ?? `(a resource: ${block.uri}, ${block.mimeType ?? "bytes"})`;
      default:
        return `(a resource: ${block.uri}, ${block.name})`;
    }
  });
  const text = [...(value === undefined ? [] : [JSON.stringify(value)]), ...blocks].join("\n");
  if (text.length <= maxResultChars) return text === "" ? "(no output)" : text;
  return `${text.slice(0, maxResultChars)}\n(cut: ${maxResultChars} of ${text.length} characters)`;
}

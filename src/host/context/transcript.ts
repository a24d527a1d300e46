import type { ContextMessage } from "../../core/run.ts";
import { toResultText } from "../../core/result-text.ts";

/** Messages as one text, of at most about `maxBytes` bytes: where that is too little, the longest are cut first. */
export function toTranscript(messages: readonly ContextMessage[], maxBytes: number): string {
  const entries = messages.map(toEntry);
  const sizes = entries.map((entry) => Buffer.byteLength(entry));
  let most = Math.max(0, ...sizes);
  const total = (): number => sizes.reduce((sum, size) => sum + Math.min(size, most) + 2, 0);
  while (most > 40 && total() > maxBytes) most = Math.floor(most * 0.8);
  return entries.map((entry, place) => ((sizes[place] ?? 0) <= most ? entry : cut(entry, most))).join("\n\n");
}

function toEntry(message: ContextMessage): string {
  switch (message.role) {
    case "user": {
      const who = message.summary === true ? "Summary so far" : "User";
      return `${who}: ${toResultText({ content: [...message.content], isError: false })}`;
    }
    case "tool":
      return `${message.outcome.isError ? "Failure" : "Result"} of ${message.name}: ${toResultText(message.outcome)}`;
    default: {
      const said = message.parts.flatMap((part) => {
        if (part.type === "text") return [part.text];
        return part.type === "tool_call" ? [`[calls ${part.name} ${part.argumentsText}]`] : [];
      });
      return `Assistant: ${said.join("\n")}`;
    }
  }
}

/** Its beginning, and that it was cut. */
function cut(text: string, bytes: number): string {
  return `${new TextDecoder().decode(Buffer.from(text).subarray(0, bytes), { stream: true })} […]`;
}

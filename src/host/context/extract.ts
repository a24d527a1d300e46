import type { ContextMessage } from "../../core/run.ts";
import { toResultText } from "../../core/result-text.ts";

/** How much of one thing that was said or done stands in a summary, in characters. */
const lineChars = 200;

/**
 * A summary without a model: what the user asked for, what was said, which tools were called and how that ended, in order, in one line
 * each; at most `maxBytes` bytes, the oldest lines going first. What an earlier summary says stays before it, in up to half of the room.
 */
export function extractSummary(messages: readonly ContextMessage[], maxBytes: number): string {
  const earlier = messages.flatMap((message) => (isSummary(message) ? linesOf(textOf(message)) : []));
  const args = new Map<string, string>();
  const lines: string[] = [];
  for (const message of messages) {
    if (message.role === "tool") lines.push(toResultLine(message, args.get(message.callId) ?? ""));
    else if (message.role === "user") lines.push(...(isSummary(message) ? [] : toLine("The user", textOf(message))));
    else {
      for (const part of message.parts) {
        if (part.type === "text") lines.push(...toLine("The model", part.text));
        if (part.type === "tool_call") args.set(part.callId, part.argumentsText);
      }
    }
  }
  const before = earlier.length === 0 ? "" : `${toFit(earlier, maxBytes / 2)}\n`;
  return before + toFit(lines, maxBytes - Buffer.byteLength(before));
}

function isSummary(message: ContextMessage): boolean {
  return message.role === "user" && message.summary === true;
}

/** An earlier summary without the sentence before it. */
function linesOf(text: string): readonly string[] {
  const start = text.indexOf("\n\n");
  return (start < 0 ? text : text.slice(start + 2)).split("\n").filter((line) => line !== "");
}

function textOf(message: ContextMessage): string {
  if (message.role !== "user") return "";
  return message.content.map((block) => (block.type === "text" ? block.text : `(${block.type})`)).join(" ");
}

function toLine(who: string, text: string): readonly string[] {
  const said = inShort(text);
  return said === "" ? [] : [`${who}: ${said}`];
}

function toResultLine({ name, outcome }: ContextMessage & { readonly role: "tool" }, args: string): string {
  const ended = outcome.isError ? "failed" : "gave";
  return `${name} ${inShort(args)} ${ended}: ${inShort(toResultText(outcome))}`;
}

/** The first sentences, in one line. */
function inShort(text: string): string {
  const line = text
    .slice(0, 4 * lineChars)
    .toWellFormed()
    .replaceAll(/\s+/g, " ")
    .trim();
  if (line.length <= lineChars) return line;
  const end = line.slice(0, lineChars).search(/[.!?] [^.!?]*$/);
  return end > lineChars / 2 ? line.slice(0, end + 1) : `${line.slice(0, lineChars).toWellFormed()}…`;
}

function toFit(lines: readonly string[], maxBytes: number): string {
  const note = (count: number): string => `(${count} older lines are left out)`;
  let room = maxBytes - note(lines.length).length - 1;
  let first = lines.length;
  while (first > 0) {
    room -= Buffer.byteLength(lines[first - 1] ?? "") + 1;
    if (room < 0) break;
    first -= 1;
  }
  return [...(first === 0 ? [] : [note(first)]), ...lines.slice(first)].join("\n");
}

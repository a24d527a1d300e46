import { counted } from "../../core/counted.ts";
import type { ContextMessage } from "../../core/run.ts";
import { toResultText } from "../../core/result-text.ts";

/** Where there is too much, no entry is cut to less than this, in bytes. */
const leastEntryBytes = 40;

/**
 * Messages as one text, of at most `maxBytes` bytes, a sentence aside: where that is too little, the longest are cut first, and where there
 * are too many even so, those in the middle are left out.
 */
export function toTranscript(messages: readonly ContextMessage[], maxBytes: number): string {
  const entries = messages.map(toEntry);
  const sizes = entries.map((entry) => Buffer.byteLength(entry));
  let most = sizes.reduce((largest, size) => Math.max(largest, size), 0);
  const total = (): number => sizes.reduce((sum, size) => sum + Math.min(size, most) + gapBytes, 0);
  while (most > leastEntryBytes && total() > maxBytes) most = Math.floor(most * 0.8);
  return toFit(
    entries.map((entry, place) => ((sizes[place] ?? 0) <= most ? entry : cut(entry, most))),
    maxBytes,
  ).join("\n\n");
}

/** Between two entries. */
const gapBytes = 2;

/** A quarter of the room is for the beginning, where the task and an earlier summary stand, the rest for the end. */
function toFit(entries: readonly string[], maxBytes: number): readonly string[] {
  if (whileFitting(entries, maxBytes).length === entries.length) return entries;
  const first = whileFitting(entries, maxBytes / 4);
  const last = whileFitting(entries.slice(first.length).toReversed(), (maxBytes * 3) / 4).toReversed();
  const left = entries.length - first.length - last.length;
  return [...first, `[… ${counted(left, "message")} left out here …]`, ...last];
}

function whileFitting(entries: readonly string[], maxBytes: number): readonly string[] {
  let room = maxBytes;
  const end = entries.findIndex((entry) => (room -= Buffer.byteLength(entry) + gapBytes) < 0);
  return end < 0 ? entries : entries.slice(0, end);
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
      return `Assistant: ${said.join("\n").toWellFormed()}`;
    }
  }
}

/** Its beginning, and that it was cut; both together are no longer than what it had. */
function cut(text: string, bytes: number): string {
  const mark = " […]";
  const beginning = Buffer.from(text).subarray(0, Math.max(0, bytes - Buffer.byteLength(mark)));
  return `${new TextDecoder().decode(beginning, { stream: true })}${mark}`;
}

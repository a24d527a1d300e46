import type { Event, RunInput, ToolOutcome } from "../core/event.ts";

/** The events of a run as lines that a person reads: when, what, and in short with what. */
export function toTimeline(events: readonly Event[]): readonly string[] {
  const start = events[0]?.at ?? 0;
  return events.map((event) => `${String(event.seq).padStart(4)}  ${seconds(event.at - start)}  ${describe(event)}`);
}

const seconds = (ms: number): string => `+${(ms / 1000).toFixed(3)} s`.padStart(11);

const short = (text: string): string => {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length > 160 ? `${line.slice(0, 159)}…` : line;
};

function describe(event: Event): string {
  switch (event.type) {
    case "run.created":
      return `run created, model ${event.model}: ${short(event.task)}`;
    case "input.received":
      return describeInput(event.input);
    case "model.requested":
      return `model asked, turn ${event.turn}`;
    case "model.answered":
      return `model answered (${event.stop}): ${short(event.parts.map(toText).join(" "))}`;
    case "model.failed":
      return `model failed, ${event.code}: ${short(event.message)}`;
    case "tool.requested":
      return `${event.name} called (${event.effect}) ${event.callId}: ${short(JSON.stringify(event.args))}`;
    case "tool.finished":
      return `${event.outcome.isError ? "failed" : "done"} ${event.callId}: ${short(outcomeText(event.outcome))}`;
    case "approval.requested":
      return `waits for a person, ${event.callId}: ${short(event.question)}`;
    case "run.resumed":
      return `run resumed under grant ${event.grantId}`;
    case "run.suspended":
      return event.callIds.length === 0
        ? "run interrupted"
        : `run suspended until ${event.callIds.join(", ")} is decided`;
    case "run.finished":
      return `run ${event.status}${event.code === undefined ? "" : `, ${event.code}`}: ${short(event.answer)}`;
    default:
      return event satisfies never;
  }
}

function describeInput(input: RunInput): string {
  switch (input.type) {
    case "message":
      return `context came in: ${short(input.text)}`;
    case "approval":
      return input.decision === "approve"
        ? `approved ${input.callId}`
        : `denied ${input.callId}: ${short(input.reason ?? "no reason given")}`;
    case "cancel":
      return `cancelled: ${short(input.reason)}`;
    default:
      return input satisfies never;
  }
}

/** A value as JSON; where a tool gave only text, such as the reason of a refusal, that text. */
function outcomeText({ value, content = [] }: ToolOutcome): string {
  if (value !== undefined) return JSON.stringify(value);
  return content.map((block) => (block.type === "text" ? block.text : `[${block.type}]`)).join(" ");
}

function toText(part: { readonly type: string; readonly text?: string; readonly name?: string }): string {
  return part.type === "tool_call" ? `[calls ${part.name}]` : (part.text ?? "");
}

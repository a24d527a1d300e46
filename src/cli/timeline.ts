import { counted } from "../core/counted.ts";
import type { Event, ModelTool, RunInput, ToolOutcome } from "../core/event.ts";
import { readTools } from "../core/offered.ts";
import { noUsage } from "../core/usage.ts";
import { inShort as short } from "./in-short.ts";
import { usageInWords } from "./run-end.ts";

/** The events of a run as lines that a person reads: when, what, and in short with what. */
export function toTimeline(events: readonly Event[]): readonly string[] {
  const runs = [...Map.groupBy(events, ({ runId }) => runId)];
  return runs.flatMap(([runId, own]) => {
    const start = own[0]?.at ?? 0;
    const lines = own.map(
      (event) => `${String(event.seq).padStart(4)}  ${seconds(event.at - start)}  ${describe(event)}`,
    );
    return runs.length === 1 ? lines : [`${runId}:`, ...lines];
  });
}

const seconds = (ms: number): string => `+${(ms / 1000).toFixed(3)} s`.padStart(11);

function describe(event: Event): string {
  switch (event.type) {
    case "run.created":
      return `run created${describeOrigin(event)}, model ${event.model}: ${short(event.task)}`;
    case "input.received":
      return describeInput(event.input);
    case "tools.offered":
      return describeTools(readTools(event.tools));
    case "model.requested":
      return event.purpose === undefined ? `model asked, turn ${event.turn}` : "model asked for a summary";
    case "model.answered":
      return `model answered (${[event.stop, ...describeUse(event)].join(", ")}): ${short(event.parts.map(toText).join(" "))}`;
    case "model.failed":
      return `model failed${inBrackets(describeUse(event))}, ${event.code}: ${short(event.message)}`;
    case "tool.requested":
      return `${event.name} called${toAgain(event)} (${event.effect}) ${event.callId}: ${short(JSON.stringify(event.args))}`;
    case "tool.finished":
      return `${toEnd(event)} ${event.callId}: ${short(outcomeText(event.outcome))}`;
    case "tool.suspended":
      return `${event.callId} waits for ${event.by.runId}, which waits for a person`;
    case "context.counted":
      return `the context has ${event.tokens} tokens, which is too much`;
    case "context.compacted":
      return `the oldest ${counted(event.messages, "message")} summed up by ${event.by}: ${short(event.summary)}`;
    case "guardrail.hit":
      return `guardrail ${event.rule}, ${event.place} ${event.action}: ${short(event.message)}`;
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

function describeOrigin({ agent, previous, parent, imported }: Event & { type: "run.created" }): string {
  return [
    ...(agent === undefined ? [] : [` for the agent ${agent.name}`]),
    ...(parent === undefined ? [] : [` by ${parent.runId}`]),
    ...(imported === undefined ? [] : [` elsewhere, from the file ${imported.name}`]),
    ...(previous === undefined
      ? []
      : [` ${previous.how === "fork" ? "as a fork from" : "after"} event ${previous.seq} of ${previous.runId}`]),
  ].join("");
}

/** What an answer took, and what happened on the way to it. */
function describeUse({
  usage = noUsage,
  costMicroUsd = 0,
  model,
  notices = [],
}: Partial<
  Pick<Event & { type: "model.answered" }, "usage" | "costMicroUsd" | "model" | "notices">
>): readonly string[] {
  const cost = costMicroUsd === 0 ? [] : [`${(costMicroUsd / 1e6).toFixed(6)} USD`];
  const on = notices.map(({ type }) => type.replaceAll("_", " "));
  return [...(model === undefined ? [] : [`by ${model}`]), ...usageInWords(usage), ...cost, ...on];
}

const inBrackets = (words: readonly string[]): string => (words.length === 0 ? "" : ` (${words.join(", ")})`);

const toAgain = ({ retry }: Event & { type: "tool.requested" }): string =>
  retry === undefined ? "" : ` again, since it failed for a passing reason (retry ${retry})`;

const toEnd = ({ edited, outcome }: Event & { type: "tool.finished" }): string =>
  edited === true ? "result put in by hand for" : outcome.isError ? "failed" : "done";

const describeTools = (tools: readonly ModelTool[]): string =>
  `${counted(tools.length, "tool")} offered: ${short(tools.map(({ name }) => name).join(", "))}`;

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

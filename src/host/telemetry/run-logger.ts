import type { Attributes } from "./attributes.ts";
import { attributes as names } from "./conventions.ts";
import type { SpanIds } from "./carry.ts";
import type { Logger } from "./logger.ts";
import type { TraceStep } from "./steps.ts";
import { runSpan } from "./steps.ts";

type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** The records of one run while it is driven. Disposing tells of a run that is left before its end. */
export interface RunLogger extends Disposable {
  /** The records of one step of its trace; `ids` are those of its span, where there is one. */
  write(step: TraceStep, ids?: SpanIds): void;
}

/** The attributes of spans that stand in records, under shorter names. Those that hold what somebody said are not among them. */
const fieldNames: Readonly<Record<string, string>> = {
  "capstan.run.id": "runId",
  "capstan.parent.run.id": "parentRunId",
  "capstan.previous.run.id": "previousRunId",
  "capstan.run.resumed": "resumed",
  "capstan.run.status": "status",
  "capstan.run.suspended_for": "suspendedFor",
  "capstan.tool.outcome": "status",
  "capstan.turn": "turn",
  "capstan.cost.micro_usd": "costMicroUsd",
  "capstan.model": "model",
  "capstan.next": "next",
  "capstan.attempt": "attempt",
  "capstan.delayMs": "delayMs",
  "capstan.waitedMs": "waitedMs",
  "capstan.ageMs": "ageMs",
  "capstan.state": "state",
  "capstan.code": "code",
  "capstan.rule": "rule",
  "capstan.place": "place",
  "capstan.action": "action",
  "capstan.messages": "messages",
  "capstan.by": "by",
  [names.agentName]: "agent",
  [names.agentVersion]: "agentVersion",
  [names.conversation]: "conversation",
  [names.responseModel]: "responseModel",
  [names.toolName]: "tool",
  [names.toolCallId]: "callId",
  [names.inputTokens]: "inputTokens",
  [names.outputTokens]: "outputTokens",
  [names.cacheReadTokens]: "cacheReadTokens",
  [names.cacheWriteTokens]: "cacheWriteTokens",
  [names.reasoningTokens]: "reasoningTokens",
  [names.errorType]: "code",
};

/** What the beginning and the end of a span tell themselves. */
const told: ReadonlySet<string> = new Set([
  "orchestrate_start",
  "orchestrate_complete",
  "provider_call",
  "tool_execution",
]);

/** The levels of what happens within a span; the others are `info`. */
const levels: Readonly<Record<string, "debug" | "warn">> = {
  cache_hit: "debug",
  cache_miss: "debug",
  rate_limit_acquired: "debug",
  slot_acquired: "debug",
  retry: "warn",
  failover: "warn",
  circuit: "warn",
  degraded: "warn",
  guardrail_hit: "warn",
};

/** Opens the records of one run, made from the steps of its trace and so from nothing but its log of events. */
export function openRunLogger(logger: Logger): RunLogger {
  const open = new Map<string, { readonly at: number; readonly name: string; readonly fields: Fields }>();
  let lastAt = 0;

  function write(step: TraceStep, ids: SpanIds | undefined): void {
    if (step.type === "measure") return;
    const { span, at, attributes } = step;
    lastAt = at;
    if (step.type === "start") {
      const fields = { ...toFields(attributes), trace_id: ids?.traceId, span_id: ids?.spanId };
      const name = attributes[names.operation] === "chat" ? "provider_call" : "tool_execution";
      open.set(span, { at, name, fields });
      if (span === runSpan) logger.write("info", { name: "orchestrate_start", at, ...fields });
      else logger.write("debug", { name, at, status: "started", ...fields });
      return;
    }
    const of = open.get(span);
    if (of === undefined) return;
    if (step.type === "event") {
      if (told.has(step.name)) return;
      logger.write(levels[step.name] ?? "info", { name: step.name, at, ...of.fields, ...toFields(attributes) });
      return;
    }
    open.delete(span);
    const outcome = { status: step.error === undefined ? "done" : "failed", ...toFields(attributes) };
    const isRun = span === runSpan;
    const name = isRun ? "orchestrate_complete" : of.name;
    logger.write(toLevel(outcome, isRun), { name, at, ...of.fields, ...outcome, ms: at - of.at });
  }

  return {
    write,
    [Symbol.dispose]() {
      const run = open.get(runSpan);
      open.clear();
      if (run === undefined) return;
      const left = { ...run.fields, status: "left", ms: lastAt - run.at };
      logger.write("warn", { name: "orchestrate_complete", at: lastAt, ...left });
    },
  };
}

/** What a model can go on from is a warning; a run that somebody stopped, or that waits, has not failed. */
function toLevel({ status, code }: Fields, isRun: boolean): "info" | "warn" | "error" {
  if (code === undefined || status === "cancelled") return "info";
  return isRun ? "error" : "warn";
}

function toFields(attributes: Attributes): Fields {
  const fields: Record<string, string | number | boolean> = {};
  for (const [attribute, value] of Object.entries(attributes)) {
    const field = fieldNames[attribute];
    if (field !== undefined && typeof value !== "object") fields[field] = value;
  }
  const { [names.provider]: provider, [names.requestModel]: model } = attributes;
  if (model === undefined) return fields;
  return { ...fields, model: provider === model ? String(model) : `${String(provider)}:${String(model)}` };
}

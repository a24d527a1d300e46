import type { Event, Usage } from "../../core/event.ts";
import type { Attributes } from "./attributes.ts";
import { inputTokens, toMessages, toName, toNotice, toSettings, toUsage } from "./attributes.ts";
import { attributes as names } from "./conventions.ts";

/** What an event of a log means for the trace of its run. Times are ms since the epoch; `span` names a span within the run. */
export type TraceStep =
  | {
      readonly type: "start";
      readonly span: string;
      readonly name: string;
      /** `client` for what leaves the process to a model. */
      readonly kind: "internal" | "client";
      readonly at: number;
      readonly attributes: Attributes;
    }
  | {
      readonly type: "event";
      readonly span: string;
      readonly name: string;
      readonly at: number;
      readonly attributes: Attributes;
    }
  | {
      readonly type: "end";
      readonly span: string;
      readonly at: number;
      readonly attributes: Attributes;
      /** A code; missing: it went well. */
      readonly error?: string;
    }
  | {
      readonly type: "measure";
      readonly span: string;
      readonly metric: "tokens" | "duration";
      readonly value: number;
      readonly attributes: Attributes;
    };

/** What a call of the model took, as far as an event says it. */
interface Taken {
  readonly callId: string;
  readonly usage?: Usage;
  readonly costMicroUsd?: number;
}

interface Called {
  readonly name: string;
  readonly argumentsText: string;
  /** Whether it is performed again when a run is taken up that was left while the call was open. */
  readonly again: boolean;
}

/** What is known of a run while its trace is made. */
export interface TraceState {
  /** What every span says. */
  readonly common: Attributes;
  readonly provider: string;
  readonly model: string;
  readonly settings: Attributes;
  readonly agent: string | undefined;
  /** The spans that are open, with their beginning; the run's own is `run`. */
  readonly open: ReadonlyMap<string, number>;
  readonly calls: ReadonlyMap<string, Called>;
  /** The model call that has no answer. */
  readonly modelCall: { readonly callId: string; readonly turn: number } | null;
  readonly at: number;
}

/** The span of the run itself; that of a call is named by the call's id. */
export const runSpan = "run";

/**
 * The steps that one more event adds to the trace of its run, from nothing but the log: made live or of a stored log, the spans are the
 * same. Words of people, models and tools are in it only with `content`. A run that waits has a span until then, and one more for each
 * time that it is taken up.
 */
export function traceEvent(
  before: TraceState | null,
  event: Event,
  { content }: { readonly content: boolean },
): { readonly state: TraceState; readonly steps: readonly TraceStep[] } {
  // A log that goes on from another one may be read with it: then each begins anew.
  const known = before === null || event.type === "run.created" ? toState(event) : before;
  const draft = openDraft(known, event.at, content);
  if (before !== null && event.type === "run.created") {
    draft.steps.push(...openDraft(before, before.at, content).endRun({}, "interrupted").steps);
  }
  add(draft, event, before?.at ?? event.at);
  const { open, calls, modelCall, steps } = draft;
  return { state: { ...known, open, calls, modelCall, at: event.at }, steps };
}

type Draft = ReturnType<typeof openDraft>;

/** The trace of a run as one event changes it. */
function openDraft(state: TraceState, at: number, content: boolean) {
  const { common, provider, model, settings, agent } = state;
  const draft = {
    steps: new Array<TraceStep>(),
    open: new Map(state.open),
    calls: new Map(state.calls),
    modelCall: state.modelCall,
    model,
    /** Attributes that hold what somebody said: none where that is not wanted. */
    said: (said: () => Attributes): Attributes => (content ? said() : {}),
    start(span: string, name: string, kind: "internal" | "client", attributes: Attributes): void {
      draft.open.set(span, at);
      draft.steps.push({ type: "start", span, name, kind, at, attributes: { ...common, ...attributes } });
    },
    tell(span: string, name: string, attributes: Attributes = {}): void {
      if (draft.open.has(span)) draft.steps.push({ type: "event", span, name, at, attributes });
    },
    end(span: string, attributes: Attributes, error?: string, endedAt = at): void {
      if (!draft.open.delete(span)) return;
      const failed = error === undefined ? {} : { [names.errorType]: error };
      const ended = { type: "end" as const, span, at: endedAt, attributes: { ...attributes, ...failed } };
      draft.steps.push(error === undefined ? ended : { ...ended, error });
    },
    measure(span: string, metric: "tokens" | "duration", value: number, attributes: Attributes): void {
      // Nothing of one run alone: each value of an attribute is a series of its own.
      const about = {
        [names.provider]: provider,
        [names.operation]: "chat",
        [names.requestModel]: model,
        ...attributes,
      };
      draft.steps.push({ type: "measure", span, metric, value, attributes: about });
    },
    startRun(attributes: Attributes): void {
      const name = agent === undefined ? "invoke_agent" : `invoke_agent ${agent}`;
      const operation = { [names.operation]: "invoke_agent", [names.requestModel]: model };
      draft.start(runSpan, name, "internal", { ...operation, ...settings, ...attributes });
      draft.tell(runSpan, "orchestrate_start");
    },
    /** Ends the run's span, and what is open in it as interrupted. */
    endRun(attributes: Attributes, error?: string, endedAt = at) {
      const inner = [...draft.open.keys()].filter((span) => span !== runSpan);
      for (const span of inner) draft.end(span, {}, "interrupted", endedAt);
      draft.end(runSpan, attributes, error, endedAt);
      return draft;
    },
    startModel(callId: string, turn: number): void {
      const operation = { [names.operation]: "chat", [names.requestModel]: model, "capstan.turn": turn };
      draft.start(callId, `chat ${model}`, "client", { ...operation, ...settings });
      draft.tell(callId, "provider_call", { [names.requestModel]: model });
    },
    startTool(callId: string, { name: called, argumentsText }: Called): void {
      const name = /^[\w./-]{1,128}$/.test(called) ? called : "unknown"; // A model may call by any words.
      const call = { [names.operation]: "execute_tool", [names.toolName]: name, [names.toolCallId]: callId };
      const said = draft.said(() => ({ [names.toolArguments]: argumentsText }));
      draft.start(callId, `execute_tool ${name}`, "internal", { ...call, [names.toolType]: "function", ...said });
      draft.tell(callId, "tool_execution", { [names.toolName]: name });
    },
    endModel(callId: string, attributes: Attributes, measured: Attributes, error?: string): void {
      const begun = draft.open.get(callId);
      const failed = error === undefined ? {} : { [names.errorType]: error };
      if (begun !== undefined) draft.measure(callId, "duration", (at - begun) / 1_000, { ...measured, ...failed });
      draft.end(callId, attributes, error);
      draft.modelCall = null;
    },
    /** Measures what a call of the model took as far as it is known, and gives it as attributes of its span. */
    take({ callId, usage, costMicroUsd }: Taken, measured: Attributes = {}): Attributes {
      if (usage !== undefined) draft.measureTokens(callId, usage, measured);
      const cost = costMicroUsd === undefined ? {} : { "capstan.cost.micro_usd": costMicroUsd };
      return { ...cost, ...(usage === undefined ? {} : toUsage(usage)) };
    },
    measureTokens(callId: string, usage: Usage, measured: Attributes): void {
      for (const [kind, value] of [
        ["input", inputTokens(usage)],
        ["output", usage.output + usage.reasoning],
      ] as const) {
        if (value > 0) draft.measure(callId, "tokens", value, { ...measured, [names.tokenType]: kind });
      }
    },
  };
  return draft;
}

/** `leftAt`: when the log was written to before. */
function add(draft: Draft, event: Event, leftAt: number): void {
  switch (event.type) {
    case "run.created":
      return draft.startRun(draft.said(() => ({ [names.inputMessages]: toMessages("user", event.task) })));
    case "run.resumed":
      // What is open here was left by a process that died.
      draft
        .endRun({ "capstan.run.status": "interrupted" }, "interrupted", leftAt)
        .startRun({ "capstan.run.resumed": true });
      if (draft.modelCall !== null) draft.startModel(draft.modelCall.callId, draft.modelCall.turn);
      for (const [callId, call] of draft.calls) if (call.again) draft.startTool(callId, call);
      return;
    case "run.suspended":
      draft.tell(runSpan, "orchestrate_complete", { "capstan.run.status": "suspended" });
      draft.endRun({ "capstan.run.status": "suspended", "capstan.run.suspended_for": event.reason });
      return;
    case "run.finished": {
      const { status, code, answer } = event;
      draft.tell(runSpan, "orchestrate_complete", { "capstan.run.status": status });
      const said = answer === "" ? {} : draft.said(() => ({ [names.outputMessages]: toMessages("assistant", answer) }));
      draft.endRun({ "capstan.run.status": status, ...said }, status === "done" ? undefined : (code ?? status));
      return;
    }
    case "context.compacted":
      return addCompaction(draft, event);
    case "guardrail.hit": {
      const { rule, place, action } = event;
      const about = { "capstan.rule": rule, "capstan.place": place, "capstan.action": action };
      return draft.tell(runSpan, "guardrail_hit", about);
    }
    case "model.requested":
      draft.modelCall = { callId: event.callId, turn: event.turn };
      return draft.startModel(event.callId, event.turn);
    case "model.answered":
      return addAnswer(draft, event);
    case "model.failed": {
      const { callId, code, notices = [] } = event;
      for (const notice of notices) draft.tell(callId, notice.type, toNotice(notice));
      return draft.endModel(callId, draft.take(event), {}, code);
    }
    case "tool.requested": {
      const { callId, name, args, effect } = event;
      const call = { name, argumentsText: JSON.stringify(args), again: effect !== "once" };
      draft.calls.set(callId, call);
      if (!draft.open.has(callId)) draft.startTool(callId, call);
      if (event.retry !== undefined) draft.tell(callId, "retry", { "capstan.attempt": event.retry });
      return;
    }
    case "tool.suspended":
    case "approval.requested":
      return addWaiting(draft, event);
    case "tool.finished":
      return addResult(draft, event);
    default:
  }
}

function addAnswer(draft: Draft, event: Event & { type: "model.answered" }): void {
  const { callId, parts, notices = [], stop } = event;
  for (const part of parts) {
    if (part.type === "tool_call") draft.calls.set(part.callId, { ...part, again: false });
  }
  for (const notice of notices) draft.tell(callId, notice.type, toNotice(notice));
  const by = { [names.responseModel]: event.model === undefined ? draft.model : toName(event.model) };
  const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("");
  const said = text === "" ? {} : draft.said(() => ({ [names.outputMessages]: toMessages("assistant", text) }));
  const took = draft.take(event, by);
  draft.endModel(callId, { ...by, [names.finishReasons]: [stop], ...took, ...said }, by);
}

function addCompaction(draft: Draft, event: Event & { type: "context.compacted" }): void {
  const { messages, by, callId, ...taken } = event;
  draft.tell(runSpan, "context_compacted", { "capstan.messages": messages, "capstan.by": by });
  if (callId !== undefined) draft.endModel(callId, draft.take({ ...taken, callId }), {});
}

function addWaiting(draft: Draft, { type, callId }: Event & { type: "tool.suspended" | "approval.requested" }): void {
  const call = draft.calls.get(callId);
  // Once approved, a call is requested anew; one that waits for a run of its own goes on with that.
  if (call !== undefined) draft.calls.set(callId, { ...call, again: type === "tool.suspended" });
  draft.tell(runSpan, "approval_requested", { [names.toolCallId]: callId });
  draft.end(callId, { "capstan.tool.outcome": "waiting" });
}

function addResult(draft: Draft, { callId, outcome }: Event & { type: "tool.finished" }): void {
  const call = draft.calls.get(callId) ?? { name: "unknown", argumentsText: "", again: false };
  draft.calls.delete(callId);
  // Ended without the door: refused by a person, or its arguments were no JSON.
  if (!draft.open.has(callId)) draft.startTool(callId, call);
  const said = draft.said(() => ({ [names.toolResult]: JSON.stringify(outcome.value ?? outcome.content ?? null) }));
  draft.end(callId, said, outcome.isError ? (outcome.code ?? "tool_error") : undefined);
}

function toState(event: Event): TraceState {
  const { runId, at } = event;
  const known = { open: new Map<string, number>(), calls: new Map<string, Called>(), modelCall: null, at };
  // A log that begins otherwise is damaged, which its reader says; its trace is as good as can be.
  if (event.type !== "run.created") {
    const unknown = { provider: "unknown", model: "unknown", settings: {}, agent: undefined };
    return { ...known, ...unknown, common: { "capstan.run.id": runId } };
  }
  const { model, agent, settings = {}, conversation = runId, parent, previous } = event;
  const [provider = model] = model.split(":");
  return {
    ...known,
    provider,
    common: {
      "capstan.run.id": runId,
      [names.provider]: provider,
      [names.conversation]: conversation,
      ...(agent === undefined ? {} : { [names.agentName]: agent.name, [names.agentVersion]: String(agent.version) }),
      ...(parent === undefined ? {} : { "capstan.parent.run.id": parent.runId }),
      ...(previous === undefined ? {} : { "capstan.previous.run.id": previous.runId }),
    },
    model: toName(model),
    settings: toSettings(settings),
    agent: agent?.name,
  };
}

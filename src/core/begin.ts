import { CapstanError } from "./error.ts";
import { emptyContext, toContinuedContext } from "./context.ts";
import type { Event } from "./event.ts";
import type { JsonObject } from "./json.ts";
import { sha256 } from "./json.ts";
import type { ContextMessage, Run, RunCall } from "./run.ts";
import { append, emptySequence, toArray } from "./sequence.ts";
import { mergeTaint, trusted } from "./taint.ts";
import { noUsage } from "./usage.ts";

/** A run as its first event makes it, and the messages that its context gains by that. */
interface Begun {
  readonly run: Run;
  readonly added: readonly ContextMessage[];
}

/**
 * A run by its first event: alone, or over what another run was at the event that it goes on from (`before`). Throws `run.corrupt` for
 * an event that begins no run, or not that one.
 */
export function begin(before: Run | null, event: Event): Begun {
  if (event.type !== "run.created" || event.seq !== 1) throw corrupt(event, "run.created as event 1");
  const { runId, scope, previous, task } = event;
  const said: ContextMessage = { role: "user", content: [{ type: "text", text: task }] };
  const begun = create(event);
  if (before === null && previous === undefined) return { run: begun, added: [said] };
  const follows = before !== null && previous?.runId === before.runId && previous.seq === before.seq;
  if (!follows) {
    const place =
      before === null ? `event ${previous?.seq} of ${previous?.runId}` : `event ${before.seq} of ${before.runId}`;
    throw corrupt(event, `what follows ${place}, right behind it`);
  }
  const isSameScope = scope.org === before.scope.org && scope.project === before.scope.project;
  if (!isSameScope || runId === before.runId) throw corrupt(event, "another run of the same scope");
  return previous.how === "fork" ? toForked(before, begun) : toContinued(before, begun, said);
}

function create(event: Event & { type: "run.created" }): Run {
  const { runId, scope, at, task, model, baseUrl, system, settings = {}, limits, grantId, taint = trusted } = event;
  const { agent, parent, imported, answerSchema, guardrails, windowTokens, resultTokens, conversation } = event;
  return {
    runId,
    scope,
    seq: 1,
    createdAt: at,
    updatedAt: at,
    activeMs: 0,
    task,
    model,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(system === undefined ? {} : { system }),
    ...(imported === undefined ? {} : { imported }),
    ...(agent === undefined ? {} : { agent }),
    ...(parent === undefined ? {} : { parent }),
    settings,
    limits,
    ...(answerSchema === undefined ? {} : { answerSchema }),
    ...(guardrails === undefined ? {} : { guardrails }),
    ...(conversation === undefined ? {} : { conversation }),
    ...(windowTokens === undefined ? {} : { windowTokens }),
    ...(resultTokens === undefined ? {} : { resultTokens }),
    context: emptyContext,
    askedAgain: {},
    tools: [],
    grantId,
    status: "running",
    suspendedFor: null,
    end: null,
    messages: emptySequence(),
    messagesHash: "",
    queued: [],
    calls: new Map(),
    callsTaint: trusted,
    modelCallId: null,
    failure: null,
    answer: null,
    lastText: "",
    turns: 0,
    toolCalls: 0,
    usage: noUsage,
    costMicroUsd: 0,
    taint,
    refusal: null,
    fatal: null,
    cancelled: null,
  };
}

/**
 * A new conversation turn over the context of `before`: what was said and where it came from stay, what was used begins anew. Calls
 * that nobody saw the end of get one, since a model must read a result to each.
 */
function toContinued(before: Run, begun: Run, task: ContextMessage): Begun {
  const { messages, messagesHash, tools, calls, queued } = before;
  const taint = mergeTaint(before.taint, begun.taint);
  const ended = [...calls.values()].map(toEnded);
  const context = toContinuedContext(before, messages.length + ended.length + queued.length);
  return {
    run: { ...begun, messages, messagesHash, tools, taint, context },
    added: [...ended, ...queued, task],
  };
}

/**
 * The same run from the same point again, as another: charges and idempotency keys hang on the ids of calls, so the open ones get new
 * ids. What a person allowed was allowed for the old ones. What ended or stopped the old run says nothing about the new one, but for a
 * rule about what was said: that stands in the new one's context as well.
 */
function toForked(before: Run, begun: Run): Begun {
  const { messages, messagesHash, queued, calls, callsTaint, tools, askedAgain, answer, lastText, refusal } = before;
  const { turns, toolCalls, usage, costMicroUsd, activeMs } = before;
  const run: Run = {
    ...begun,
    ...{ messages, messagesHash, queued, calls, tools, askedAgain, answer, lastText, refusal },
    ...{ turns, toolCalls, usage, costMicroUsd, activeMs },
    fatal: before.fatal?.code.startsWith("guardrail.") === true ? before.fatal : null,
    context: toContinuedContext(before, before.context.taskAt),
    taint: mergeTaint(before.taint, begun.taint),
    callsTaint: calls.size === 0 ? callsTaint : mergeTaint(callsTaint, begun.taint),
  };
  return { run: withNewIds(run), added: [] };
}

/** What the ids of a run's calls are made from: the id that it had where it was made. */
export function idSeed({ runId, imported }: Pick<Run, "runId" | "imported">): string {
  return imported?.runId ?? runId;
}

/** The id that an open call of an earlier run has in a fork of it. */
export function toForkedCallId(runId: string, callId: string): string {
  return `call_${sha256(`${runId} fork ${callId}`).slice(0, 24)}`;
}

function withNewIds(run: Run): Run {
  const ids = new Map<string, string>();
  for (const { callId, state } of run.calls.values()) {
    if (state.type !== "finished") ids.set(callId, toForkedCallId(idSeed(run), callId));
  }
  if (ids.size === 0) return run;
  const newId = (callId: string): string => ids.get(callId) ?? callId;
  const calls = [...run.calls.values()].map((call) => renew({ ...call, callId: newId(call.callId) }));
  // While calls are open, the last message is the one that asked for them.
  const messages = toArray(run.messages);
  const last = messages.at(-1);
  if (last?.role !== "assistant") return run;
  const parts = last.parts.map((part) => (part.type === "tool_call" ? { ...part, callId: newId(part.callId) } : part));
  const { length, backing } = run.messages;
  return {
    ...run,
    calls: new Map(calls.map((call) => [call.callId, call])),
    messages: append({ length: length - 1, backing }, { ...last, parts }),
    // The new ids follow from the old hash and the run's id.
    messagesHash: sha256(`${run.messagesHash} ${idSeed(run)}`),
  };
}

/** A call that did nothing begins anew. One that may have taken effect stays in doubt, and a person's no stays a no. */
function renew(call: RunCall): RunCall {
  const { type } = call.state;
  if (type === "finished" || type === "denied") return call;
  const args = begunWith(call);
  return { ...call, state: args === undefined ? { type: "new" } : { type: "requested", args, effect: "once" } };
}

/**
 * The arguments of an open call that may have taken effect, and would again under another id: what makes a call idempotent may be its id,
 * by which one that starts a run finds that run.
 */
function begunWith({ state, inDoubt }: RunCall): JsonObject | undefined {
  if (state.type === "suspended") return state.args;
  return state.type === "requested" && state.effect !== "read" ? state.args : inDoubt;
}

function toEnded({ callId, name, state, inDoubt }: RunCall): ContextMessage {
  if (state.type === "finished") return { role: "tool", callId, name, outcome: state.outcome };
  const what =
    state.type === "requested" || state.type === "suspended" || inDoubt !== undefined
      ? "The run stopped before this call ended. Whether it took effect is not known."
      : "The run stopped before this call was made.";
  const content = [{ type: "text" as const, text: `tool.cancelled: ${what}` }];
  return { role: "tool", callId, name, outcome: { isError: true, code: "tool.cancelled", content } };
}

/** A log in which an event stands that can't. */
export function corrupt(event: Event, expected: string): CapstanError {
  return new CapstanError(
    "run.corrupt",
    `The log of ${event.runId} is damaged at event ${event.seq}: expected ${expected}, got ${event.type}.`,
  );
}

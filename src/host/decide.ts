import { idSeed } from "../core/begin.ts";
import { counted } from "../core/counted.ts";
import type { ToolOutcome } from "../core/event.ts";
import { CapstanError, meaningOf, toText } from "../core/error.ts";
import type { JsonObject } from "../core/json.ts";
import { holdsPrototype, isJsonObject, isTooDeep, sha256 } from "../core/json.ts";
import { readResultName } from "../core/result-text.ts";
import { redact } from "../core/redact.ts";
import type { Run, RunCall, RunEnd } from "../core/run.ts";
import { isOverfull, planCompaction } from "./context/plan.ts";

/**
 * Something that may be done now. `id` is the same whenever the same log is decided, so a driver that has it in flight leaves it
 * alone. `again`: the intention is on record already, so whoever had it in flight has crashed.
 */
export type Command =
  | {
      readonly type: "call_model";
      readonly id: string;
      readonly turn: number;
      readonly again: boolean;
    }
  | {
      readonly type: "call_tool";
      readonly id: string;
      readonly name: string;
      readonly args: JsonObject;
      readonly approvalId?: string;
      readonly again: boolean;
      /** Where it is made again: for which time it was, because it failed for a passing reason, when it was last seen. Missing: none. */
      readonly retry?: number;
    }
  /** Ends a call without the door: its arguments are no JSON, or a person refused it. */
  | { readonly type: "end_call"; readonly id: string; readonly outcome: ToolOutcome }
  /** Asks a person about a call that began and whose end nobody saw. */
  | {
      readonly type: "ask";
      readonly id: string;
      readonly name: string;
      readonly args: JsonObject;
      readonly question: string;
    }
  /** Reads on in a result that was cut, from the run's own log. */
  | { readonly type: "read_result"; readonly id: string; readonly args: JsonObject }
  /** Puts a summary in place of the oldest messages. */
  | {
      readonly type: "compact";
      readonly id: string;
      readonly messages: number;
      readonly by: "model" | "extraction";
      readonly again: boolean;
    }
  | { readonly type: "suspend"; readonly id: string; readonly callIds: readonly string[] }
  | { readonly type: "finish"; readonly id: string; readonly end: RunEnd };

/**
 * Every command that may run now. Pure: time is that of the events, and ids come from the run's id and the place in the log, so the
 * same log gives the same commands. A run that is suspended or finished has none. `finish` and `suspend` stand alone.
 */
export function decide(run: Run): readonly Command[] {
  if (run.status !== "running") return [];
  const end = toEarlyEnd(run);
  if (end !== null) return [{ type: "finish", id: "finish", end }];
  if (run.calls.size > 0) return besides(decideCalls(run), toCompact(run));
  if (run.answer !== null) return [{ type: "finish", id: "finish", end: toEnd(run, run.answer) }];
  if (run.turns >= run.limits.turns) {
    const message = `The run has used its ${counted(run.limits.turns, "turn")}. Allow more with --max-turns.`;
    return [
      { type: "finish", id: "finish", end: { status: "limit", answer: run.lastText, code: "run.turns", message } },
    ];
  }
  const compact = toCompact(run);
  if (compact !== null) return [compact];
  if (run.modelCallId === null && isOverfull(run)) return [{ type: "finish", id: "finish", end: toFullEnd(run) }];
  const id = run.modelCallId ?? toCallId(run, "model", run.turns, 0);
  return [{ type: "call_model", id, turn: run.turns + 1, again: run.modelCallId !== null }];
}

/**
 * The id of a call, the same for the same place in the same log, and of no use for another run. Short and plain enough for every
 * model provider, whose own ids repeat and so can't key charges and approvals.
 */
export function toCallId(run: Run, kind: "model" | "summary" | "tool", turn: number, index: number): string {
  const seed = idSeed(run);
  const hash = sha256(`${seed} ${kind} ${turn} ${index}`);
  // The run's own beginning, which is its time, keeps the calls of a run together in an index.
  return `call_${seed.slice(-32, -20)}${hash.slice(0, 24)}`;
}

/** The command that makes the context smaller, where it must be; null while the model reads it. */
function toCompact(run: Run): (Command & { type: "compact" }) | null {
  const plan = run.modelCallId === null ? planCompaction(run) : null;
  if (plan === null) return null;
  const { messages, by, callId } = plan;
  const id = callId ?? toCallId(run, "summary", run.turns, 2 * run.context.compactions + (by === "model" ? 0 : 1));
  return { type: "compact", id, messages, by, again: callId !== undefined };
}

/** While calls are open the context is made smaller beside them; a person who is waited for does not keep it from that. */
function besides(commands: readonly Command[], compact: Command | null): readonly Command[] {
  if (compact === null) return commands;
  return commands[0]?.type === "suspend" ? [compact] : [...commands, compact];
}

function toFullEnd(run: Run): RunEnd {
  const has = `the context has ${run.context.counted?.tokens} tokens, and with its answer the model takes ${run.windowTokens}`;
  const message = `The model's context is full, and nothing in it can be summed up: ${has}. Split the task.`;
  return { status: "limit", answer: run.lastText, code: "run.cut_off", message };
}

/** The end that comes whatever else is open: a person's, a limit's, or that of a model that can't be reached. */
function toEarlyEnd(run: Run): RunEnd | null {
  const { limits, failure, lastText } = run;
  if (run.cancelled !== null) return { status: "cancelled", answer: lastText, message: run.cancelled };
  if (run.fatal !== null) return { status: toStatus(run.fatal.code), answer: lastText, ...run.fatal };
  if (run.activeMs >= limits.timeMs) {
    const message = `The run has used its ${limits.timeMs} ms. Allow more with --timeout.`;
    return { status: "limit", answer: lastText, code: "run.time", message };
  }
  if (run.costMicroUsd > 0 && run.costMicroUsd >= limits.costMicroUsd) {
    const message = `The run has cost ${run.costMicroUsd} micro-USD of ${limits.costMicroUsd}. Allow more with --max-cost.`;
    return { status: "limit", answer: lastText, code: "budget.cost", message };
  }
  if (failure === null) return null;
  return { status: toStatus(failure.code), answer: lastText, code: failure.code, message: failure.message };
}

/** The end of a run whose model has said its last word. */
function toEnd({ refusal }: Run, { text, stop }: NonNullable<Run["answer"]>): RunEnd {
  switch (stop) {
    case "length":
      return {
        status: "limit",
        answer: text,
        code: "run.cut_off",
        message: "The answer reached the model's output limit.",
      };
    case "context_full":
      return {
        status: "limit",
        answer: text,
        code: "run.cut_off",
        message: "The model's context is full. Split the task.",
      };
    case "refusal":
    case "filtered":
      return { status: "failed", answer: text, code: "provider.declined", message: "The model declined the task." };
    default:
      if (refusal !== null) {
        const message = "What the task needed was refused, and nothing came after that.";
        return { status: toStatus(refusal), answer: text, code: refusal, message };
      }
      return { status: stop === "failed" ? "failed" : "done", answer: text };
  }
}

/** How a run ends when a code ends it: used up is `limit`, refused by policy is `refused`, the rest is failed. */
function toStatus(code: string): RunEnd["status"] {
  switch (meaningOf(code)?.exit) {
    case 5:
      return "limit";
    case 6:
      return "refused";
    default:
      return "failed";
  }
}

function decideCalls(run: Run): readonly Command[] {
  const commands: Command[] = [];
  const waiting: string[] = [];
  // Calls that have begun hold their places before others get one.
  const begun = (call: RunCall): number => (call.state.type === "requested" ? 0 : 1);
  let places = run.limits.parallel;
  for (const call of [...run.calls.values()].sort((a, b) => begun(a) - begun(b))) {
    if (call.state.type === "waiting" || call.state.type === "suspended") waiting.push(call.callId);
    const command = decideCall(call, run);
    if (command === null) continue;
    const isInside = command.type === "end_call" || command.type === "read_result";
    if (!isInside) places -= 1;
    if (isInside || places >= 0) commands.push(command);
  }
  return commands.length > 0 ? commands : [{ type: "suspend", id: "suspend", callIds: waiting }];
}

function decideCall({ callId: id, name, argumentsText, state }: RunCall, { context }: Run): Command | null {
  switch (state.type) {
    case "waiting":
    case "suspended":
    case "finished":
      return null;
    case "denied":
      return endCall(
        id,
        new CapstanError("permission.approval_refused", `A person refused this call. ${state.reason}`),
      );
    case "requested": {
      const { args, effect, retry } = state;
      if (effect === "once") return { type: "ask", id, name, args, question: interrupted(name) };
      return { type: "call_tool", id, name, args, again: true, ...(retry === undefined ? {} : { retry }) };
    }
    default: {
      const args = parseArguments(argumentsText);
      if (args instanceof CapstanError) return endCall(id, args);
      if (name === readResultName && context.hasCuts) return { type: "read_result", id, args };
      const approval = state.type === "approved" ? { approvalId: state.approvalId } : {};
      return { type: "call_tool", id, name, args, ...approval, again: false };
    }
  }
}

function interrupted(name: string): string {
  return `The call of ${name} began before Capstan was interrupted, and nobody saw its end: it may have taken effect. Call it again?`;
}

/** Models write arguments as text; no text at all stands for no arguments. */
function parseArguments(text: string): JsonObject | CapstanError {
  let value: unknown;
  try {
    value = text.trim() === "" ? {} : JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "it does not parse";
    return new CapstanError("tool.bad_arguments", `The arguments are not JSON: ${why}. Send one JSON object.`);
  }
  if (isTooDeep(value)) {
    return new CapstanError(
      "tool.bad_arguments",
      "The arguments are nested more than 200 levels deep. Send flatter ones.",
    );
  }
  if (isJsonObject(value) && holdsPrototype(value)) {
    return new CapstanError(
      "tool.bad_arguments",
      "No argument, and nothing in one, may be called __proto__. Leave it out.",
    );
  }
  if (isJsonObject(value)) return value;
  return new CapstanError("tool.bad_arguments", `The arguments must be one JSON object, not ${text.slice(0, 80)}.`);
}

function endCall(id: string, error: CapstanError): Command {
  return { type: "end_call", id, outcome: toErrorOutcome(error) };
}

/** A failure as the result that the model reads, without what looks like a token: other programs say what they like in theirs. */
export function toErrorOutcome(error: CapstanError): ToolOutcome {
  return { isError: true, code: error.code, content: [{ type: "text", text: redact(toText(error)) }] };
}

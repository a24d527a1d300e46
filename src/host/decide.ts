import { counted } from "../core/counted.ts";
import type { ToolOutcome } from "../core/event.ts";
import { CapstanError, meaningOf, toText } from "../core/error.ts";
import type { JsonObject } from "../core/json.ts";
import { isJsonObject, sha256 } from "../core/json.ts";
import type { Run, RunCall, RunEnd } from "../core/run.ts";

/**
 * Something that may be done now. `id` is the same whenever the same log is decided, so a driver that has it in flight leaves it
 * alone. `again`: the intention is on record already, so whoever had it in flight has crashed.
 */
export type Command =
  | {
      readonly type: "call_model";
      readonly id: string;
      readonly turn: number;
      readonly delayMs: number;
      readonly again: boolean;
    }
  | {
      readonly type: "call_tool";
      readonly id: string;
      readonly name: string;
      readonly args: JsonObject;
      readonly approvalId?: string;
      readonly again: boolean;
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
  | { readonly type: "suspend"; readonly id: string; readonly callIds: readonly string[] }
  | { readonly type: "finish"; readonly id: string; readonly end: RunEnd };

/** How often a model call that failed for a passing reason is made again, and what the waiting before it starts with and ends at. */
const maxRetries = 3;
const firstDelayMs = 1_000;
const maxDelayMs = 30_000;

/**
 * Every command that may run now. Pure: time is that of the events, and ids come from the run's id and the place in the log, so the
 * same log gives the same commands. A run that is suspended or finished has none. `finish` and `suspend` stand alone.
 */
export function decide(run: Run): readonly Command[] {
  if (run.status !== "running") return [];
  const end = toEarlyEnd(run);
  if (end !== null) return [{ type: "finish", id: "finish", end }];
  if (run.calls.size > 0) return decideCalls(run);
  if (run.answer !== null) return [{ type: "finish", id: "finish", end: toEnd(run, run.answer) }];
  if (run.turns >= run.limits.turns) {
    const message = `The run has used its ${counted(run.limits.turns, "turn")}. Allow more with --turns.`;
    return [
      { type: "finish", id: "finish", end: { status: "limit", answer: run.lastText, code: "run.turns", message } },
    ];
  }
  const id = run.modelCallId ?? toCallId(run, "model", run.turns, run.failures);
  return [{ type: "call_model", id, turn: run.turns + 1, delayMs: toDelayMs(run), again: run.modelCallId !== null }];
}

/**
 * The id of a call, the same for the same place in the same log, and of no use for another run. Short and plain enough for every
 * model provider, whose own ids repeat and so can't key charges and approvals.
 */
export function toCallId(run: Run, kind: "model" | "tool", turn: number, index: number): string {
  return `call_${sha256(`${run.runId} ${kind} ${turn} ${index}`).slice(0, 24)}`;
}

/** The end that comes whatever else is open: a person's, a limit's, or that of a model that can't be reached. */
function toEarlyEnd(run: Run): RunEnd | null {
  const { limits, failure, lastText } = run;
  if (run.cancelled !== null) return { status: "cancelled", answer: lastText, message: run.cancelled };
  if (run.fatal !== null) return { status: toStatus(run.fatal.code), answer: lastText, ...run.fatal };
  if (run.activeMs >= limits.timeMs) {
    const message = `The run has used its ${limits.timeMs} ms. Allow more with --time.`;
    return { status: "limit", answer: lastText, code: "run.time", message };
  }
  if (run.costMicroUsd > 0 && run.costMicroUsd >= limits.costMicroUsd) {
    const message = `The run has cost ${run.costMicroUsd} micro-USD of ${limits.costMicroUsd}. Allow more with --cost-usd.`;
    return { status: "limit", answer: lastText, code: "budget.cost", message };
  }
  if (failure === null || (run.failures <= maxRetries && meaningOf(failure.code)?.retryable === true)) return null;
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
    if (call.state.type === "waiting") waiting.push(call.callId);
    const command = decideCall(call);
    if (command === null) continue;
    if (command.type !== "end_call") places -= 1;
    if (command.type === "end_call" || places >= 0) commands.push(command);
  }
  return commands.length > 0 ? commands : [{ type: "suspend", id: "suspend", callIds: waiting }];
}

function decideCall({ callId: id, name, argumentsText, state }: RunCall): Command | null {
  switch (state.type) {
    case "waiting":
    case "finished":
      return null;
    case "denied":
      return endCall(
        id,
        new CapstanError("permission.approval_refused", `A person refused this call. ${state.reason}`),
      );
    case "requested":
      if (state.effect === "once") {
        return { type: "ask", id, name, args: state.args, question: interrupted(name) };
      }
      return { type: "call_tool", id, name, args: state.args, again: true };
    default: {
      const args = parseArguments(argumentsText);
      if (args instanceof CapstanError) return endCall(id, args);
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
  if (isJsonObject(value)) return value;
  return new CapstanError("tool.bad_arguments", `The arguments must be one JSON object, not ${text.slice(0, 80)}.`);
}

function endCall(id: string, error: CapstanError): Command {
  return { type: "end_call", id, outcome: toErrorOutcome(error) };
}

/** A failure as the result that the model reads. */
export function toErrorOutcome(error: CapstanError): ToolOutcome {
  return { isError: true, code: error.code, content: [{ type: "text", text: toText(error) }] };
}

/** 1, 2, 4 s after the first, second and third failure, or what the provider asked for, within a bound. */
function toDelayMs({ failures, failure }: Run): number {
  if (failure === null) return 0;
  return Math.min(Math.max(firstDelayMs * 2 ** (failures - 1), failure.retryAfterMs), maxDelayMs);
}

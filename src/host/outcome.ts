import type { PendingCall, Usage } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import type { Run, RunEnd } from "../core/run.ts";
import type { Taint } from "../core/taint.ts";
import type { RunSummary } from "../store/store.ts";
import { toValue } from "./answer-schema.ts";

/**
 * How driving a run ended. `refused`: policy refused every call of the last turn that had calls, and nothing came after. `limit`: a
 * limit of the run or a budget of its grant. `cancelled`: by a person's word, or interrupted (`core.interrupted`), which can be
 * resumed. `suspended`: waits for an answer to each of `pending`.
 */
export interface RunOutcome {
  readonly runId: string;
  /** The conversation that it is part of; missing: its id names the one that it may begin. */
  readonly conversation?: string;
  readonly status: RunEnd["status"] | "suspended";
  /** The model's last text; may be empty where the run is not done. */
  readonly answer: string;
  /** The answer as JSON, where the run had a schema for it and is done. */
  readonly value?: Json;
  /** Why the run is not done, and in a sentence. */
  readonly code?: string;
  readonly message?: string;
  readonly pending: readonly PendingCall[];
  readonly turns: number;
  readonly toolCalls: number;
  readonly usage: Usage;
  readonly costMicroUsd: number;
  /** Time in which the run was driven, waiting for people not counted. */
  readonly wallMs: number;
  /** Where untrusted parts of what the run saw came from. */
  readonly taint: Taint;
}

/** A run as lists show it. */
export interface RunLine {
  readonly runId: string;
  readonly task: string;
  readonly model: string;
  /** `running`: being driven somewhere, or crashed. `damaged`: its first or its last event can't be read. */
  readonly status: Run["status"] | "damaged";
  readonly startedAt: number;
  readonly updatedAt: number;
  /** Of a damaged run: which event can't be read, and what to do about it. */
  readonly damage?: string;
}

/** How a run stands that nobody drives. */
export function toOutcome(run: Run): RunOutcome {
  const { runId, end, lastText, turns, toolCalls, usage, costMicroUsd, taint } = run;
  const pending = toPending(run);
  const part = run.conversation === undefined ? {} : { conversation: run.conversation };
  const totals = { ...part, turns, toolCalls, usage, costMicroUsd, wallMs: run.activeMs, taint };
  if (end !== null) {
    const { status, answer, code, message } = end;
    const why = { ...(code === undefined ? {} : { code }), ...(message === undefined ? {} : { message }) };
    return { runId, status, answer, ...toValue(run, end), ...why, pending: [], ...totals };
  }
  if (run.suspendedFor === "approval") return { runId, status: "suspended", answer: lastText, pending, ...totals };
  const message = "Interrupted. What was done is kept, and the run can be resumed.";
  return { runId, status: "cancelled", answer: lastText, code: "core.interrupted", message, pending, ...totals };
}

/** The calls that wait for a person, in the model's order, in the run or in those that it started. In an imported one nobody decides. */
export function toPending(run: Run): readonly PendingCall[] {
  const { runId, imported } = run;
  if (imported !== undefined) return [];
  return [...run.calls.values()].flatMap(({ callId, name, state }) => {
    if (state.type === "suspended") return state.by.pending;
    if (state.type !== "waiting") return [];
    const { args, question, why } = state;
    return [{ runId, callId, name, args, question, ...(why === undefined ? {} : { why }) }];
  });
}

/** A run as lists show it, from the ends of its log. */
export function toRunLine({ runId, first, last, startedAt, updatedAt, damage }: RunSummary): RunLine {
  const created = first?.type === "run.created" ? first : null;
  const { task, model } = created ?? { task: "", model: "" };
  const line = { runId, task, model, startedAt, updatedAt };
  if (damage !== undefined) return { ...line, status: "damaged", damage };
  // Nobody drives what was imported.
  const still = last?.type === "run.suspended" || created?.imported !== undefined;
  return { ...line, status: last?.type === "run.finished" ? last.status : still ? "suspended" : "running" };
}

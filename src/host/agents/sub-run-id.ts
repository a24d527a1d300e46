import { canonicalJson, sha256 } from "../../core/json.ts";
import type { Spent } from "../../core/event.ts";
import type { Run } from "../../core/run.ts";
import { applyEvent } from "../../core/run.ts";
import type { Store } from "../../store/store.ts";

/**
 * The id of the run that a call within a run starts: the same for the same call, so that one that is made again after a crash finds its
 * run instead of starting another.
 */
export function toSubRunId(runId: string, callId: string, args: unknown): string {
  return `run_${sha256(canonicalJson([runId, callId, args])).slice(0, 32)}`;
}

/** The runs that the open calls of a run have started, if they have. */
export function toOpenSubRuns(run: Run): readonly string[] {
  return [...run.calls.values()].flatMap(({ callId, state }) => {
    if (state.type === "suspended") return [state.by.runId];
    return state.type === "requested" ? [toSubRunId(run.runId, callId, state.args)] : [];
  });
}

/** What the run has cost that a call has started, if it has, where the call itself does not tell. */
export async function spentBySubRun(
  store: Store,
  run: Run,
  { callId, args }: { readonly callId: string; readonly args: unknown },
): Promise<{ readonly spent?: Spent }> {
  let started: Run | null = null;
  for await (const event of store.events(run.scope, toSubRunId(run.runId, callId, args))) {
    started = applyEvent(started, event);
  }
  if (started === null) return {};
  const { usage, costMicroUsd } = started;
  return { spent: { usage, costMicroUsd } };
}

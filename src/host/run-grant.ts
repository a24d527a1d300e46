import { CapstanError } from "../core/error.ts";
import type { RunLimits } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import { deepFreeze } from "../core/json.ts";
import type { Limits } from "../core/limits.ts";
import type { Scope } from "../core/scope.ts";
import { derive } from "../permissions/derive.ts";
import { Grant } from "../permissions/grant.ts";
import { narrow } from "../permissions/narrow.ts";
import type { RecordWrite, Store } from "../store/store.ts";

const kind = "run-grant";

/**
 * The grant of a new run: all that its starter holds but the right to approve, bound to the run and within the run's limits.
 *
 * It ends when the starter's does, or, where that names `runMs`, so long after now: this is the one place where a derived grant may
 * outlive its parent, because the parent's own maker allowed it by that limit. Revoking the parent or one above it still ends it.
 */
export function toRunGrant(starter: Grant, run: RunRequest): Grant {
  const { now, id, runId, limits } = run;
  const lineage = [starter.limits, ...starter.ancestors.map((ancestor) => ancestor.limits)];
  const capped: Limits = {
    depth: Math.min(limits.depth, starter.limits.depth ?? Infinity),
    parallel: Math.min(limits.parallel, starter.limits.parallel ?? Infinity),
    costMicroUsd: Math.min(limits.costMicroUsd, starter.limits.costMicroUsd ?? Infinity),
  };
  const derived = derive(starter, narrow(starter, { run: runId, limits: capped }, [], now), { id, now });
  const runMs = Math.min(...lineage.map((one) => one.runMs ?? Infinity));
  return runMs === Infinity ? derived : deepFreeze({ ...derived, expiresAt: now + runMs });
}

export interface RunRequest {
  readonly id: string;
  readonly runId: string;
  readonly now: number;
  readonly limits: RunLimits;
}

/** The record that keeps the grant of a run; it is written once. */
export function toGrantRecord(grant: Grant, runId: string): RecordWrite {
  const value: Json = JSON.parse(JSON.stringify(grant));
  return { kind, key: runId, value, ifVersion: 0 };
}

/** The recorded grant of a run. Throws `run.not_found`. */
export async function loadRunGrant(store: Store, scope: Scope, runId: string): Promise<Grant> {
  const record = await store.record(scope, kind, runId);
  if (record === null) throw new CapstanError("run.not_found", `There is no run ${runId}. See \`capstan runs ls\`.`);
  return deepFreeze(Grant.parse(record.value));
}

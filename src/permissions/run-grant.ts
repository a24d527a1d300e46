import type { RunLimits } from "../core/event.ts";
import { deepFreeze } from "../core/json.ts";
import type { Limits } from "../core/limits.ts";
import { derive } from "./derive.ts";
import type { Grant } from "./grant.ts";
import { narrow } from "./narrow.ts";

/**
 * The grant of a new run: all that its starter holds but the right to approve, bound to the run and within the run's limits.
 *
 * It ends when the starter's does, or, where that names `runMs`, so long after now: this is the one place where a derived grant may
 * outlive its parent, because the parent's own maker allowed it by that limit: `derive` and `meet` see to that. Revoking the parent or
 * one above it still ends it.
 *
 * A run of a run is bound to itself and no longer to the run that it belongs to: neither acts as the other.
 */
export function toRunGrant(starter: Grant, run: RunRequest): Grant {
  const { now, id, runId, limits } = run;
  const capped: Limits = {
    depth: Math.min(limits.depth, starter.limits.depth ?? Infinity),
    parallel: Math.min(limits.parallel, starter.limits.parallel ?? Infinity),
    costMicroUsd: Math.min(limits.costMicroUsd, starter.limits.costMicroUsd ?? Infinity),
  };
  const derived = derive(starter, narrow(starter, { run: starter.run ?? runId, limits: capped }, [], now), { id, now });
  const { runMs } = starter.limits;
  return deepFreeze({ ...derived, run: runId, ...(runMs === undefined ? {} : { expiresAt: now + runMs }) });
}

interface RunRequest {
  readonly id: string;
  readonly runId: string;
  readonly now: number;
  readonly limits: RunLimits;
}

import type { RunLimits } from "../core/event.ts";
import { deepFreeze } from "../core/json.ts";
import type { Limits } from "../core/limits.ts";
import { deriveNarrowed } from "./derive.ts";
import type { Grant } from "./grant.ts";
import type { ToolName } from "./narrow.ts";
import { narrow } from "./narrow.ts";

/**
 * The grant of a new run: all that its starter holds but the right to approve, bound to the run and within the run's limits. With `allow`
 * (as in `NarrowOptions`) it holds of the starter's tools no others; each of them must be there.
 *
 * It ends when the starter's does, or, where that names `runMs`, so long after now: this is the one place where a derived grant may
 * outlive its parent, because the parent's own maker allowed it by that limit: `derive` and `meet` see to that. Revoking the parent or
 * one above it still ends it.
 *
 * A run of a run is bound to itself and no longer to the run that it belongs to: neither acts as the other.
 */
export function toRunGrant(starter: Grant, run: RunRequest): Grant {
  const { now, id, runId, limits, allow, tools = [] } = run;
  const capped: Limits = {
    depth: Math.min(limits.depth, starter.limits.depth ?? Infinity),
    parallel: Math.min(limits.parallel, starter.limits.parallel ?? Infinity),
    costMicroUsd: Math.min(limits.costMicroUsd, starter.limits.costMicroUsd ?? Infinity),
  };
  const options = { run: starter.run ?? runId, limits: capped, ...(allow === undefined ? {} : { allow }) };
  const derived = deriveNarrowed(starter, narrow(starter, options, tools, now), { id, now });
  const { runMs } = starter.limits;
  return deepFreeze({ ...derived, run: runId, ...(runMs === undefined ? {} : { expiresAt: now + runMs }) });
}

interface RunRequest {
  readonly id: string;
  readonly runId: string;
  readonly now: number;
  readonly limits: RunLimits;
  readonly allow?: readonly string[] | undefined;
  /** The tools that `allow` may name. */
  readonly tools?: readonly ToolName[];
}

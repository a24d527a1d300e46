import type { Amounts, Limits } from "../core/limits.ts";
import type { Grant } from "../permissions/grant.ts";
import type { BoundCall, Outcome } from "./tool.ts";

type Done = Outcome & { readonly type: "done" };

/** The smallest cap that the grant or an ancestor sets; undefined where none does. */
export function smallest(grant: Grant, name: keyof Limits): number | undefined {
  let cap = grant.limits[name];
  for (const { limits } of grant.ancestors) {
    const theirs = limits[name];
    if (theirs !== undefined && (cap === undefined || theirs < cap)) cap = theirs;
  }
  return cap;
}

/** How long the call may run: the tool's own time, within the wall limit of the grant and the grant's own end. */
export function toDeadlineMs(call: BoundCall, grant: Grant, now: number): number {
  return Math.max(1, Math.min(call.timeoutMs, smallest(grant, "wallMs") ?? Infinity, grant.expiresAt - now));
}

/**
 * What to reserve: one call, what the tool itself asks for, and, where a cap exists, the time that the call may take and one byte,
 * so that a call is refused once the bytes are used up.
 */
export function toReserved(call: BoundCall, grant: Grant, deadlineMs: number): Amounts {
  return {
    calls: 1,
    ...(smallest(grant, "wallMs") === undefined ? {} : { wallMs: deadlineMs }),
    ...(smallest(grant, "bytes") === undefined ? {} : { bytes: 1 }),
    ...call.reserve(grant),
  };
}

/** What was really used: what the tool measured, else the time on the clock and the size of the result as JSON text. */
export function toUsed(reserved: Amounts, outcome: Done, elapsedMs: number): Amounts {
  return {
    ...reserved,
    ...(reserved.wallMs === undefined ? {} : { wallMs: Math.ceil(elapsedMs) }),
    ...(reserved.bytes === undefined
      ? {}
      : { bytes: Buffer.byteLength(JSON.stringify([outcome.value, outcome.content])) }),
    ...outcome.usage,
  };
}

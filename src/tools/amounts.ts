import type { Amounts, Limits } from "../core/limits.ts";
import type { Grant } from "../permissions/grant.ts";
import type { Store } from "../store/store.ts";
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

/** The running time that the grant and its ancestors have left; undefined where none of them caps it. */
export async function leftWallMs(store: Store, grant: Grant): Promise<number | undefined> {
  const capped = [grant, ...grant.ancestors].filter(({ limits }) => limits.wallMs !== undefined);
  if (capped.length === 0) return undefined;
  const used = await store.used(capped.map(({ id }) => id));
  return Math.min(...capped.map(({ id, limits }) => (limits.wallMs ?? Infinity) - (used.get(id)?.wallMs ?? 0)));
}

/** How long the call may run: the tool's own time, within the time that is left and the grant's own end. */
export function toDeadlineMs(call: BoundCall, grant: Grant, leftMs: number | undefined, now: number): number {
  return Math.max(1, Math.min(call.timeoutMs, leftMs ?? Infinity, grant.expiresAt - now));
}

/**
 * What to reserve: one call, what the tool itself asks for, and, where a cap exists, the time that the call may take and one byte,
 * so that a call is refused once the bytes are used up. A nested call runs within the time of the one around it.
 */
export function toReserved(call: BoundCall, grant: Grant, deadlineMs: number | undefined): Amounts {
  const { wallMs = deadlineMs, ...own } = call.reserve(grant);
  return {
    calls: 1,
    ...(wallMs === undefined || deadlineMs === undefined ? {} : { wallMs: Math.min(wallMs, deadlineMs) }),
    ...(smallest(grant, "bytes") === undefined ? {} : { bytes: 1 }),
    ...own,
  };
}

/** What was really used: what the tool measured, else the time on the clock and the size of the result as JSON text. */
export function toUsed(reserved: Amounts, outcome: Done, elapsedMs: number): Amounts {
  const { wallMs = Math.ceil(elapsedMs), ...measured } = outcome.usage ?? {};
  return {
    ...reserved,
    ...(reserved.wallMs === undefined ? {} : { wallMs }),
    ...(reserved.bytes === undefined
      ? {}
      : { bytes: Buffer.byteLength(JSON.stringify([outcome.value, outcome.content])) }),
    ...measured,
  };
}

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

/** What the grant and its ancestors have left of running time and of processor time; missing where none of them caps it. */
export async function leftTimes(store: Store, grant: Grant): Promise<Pick<Amounts, "wallMs" | "cpuMs">> {
  const capped = [grant, ...grant.ancestors].filter(
    ({ limits }) => limits.wallMs !== undefined || limits.cpuMs !== undefined,
  );
  if (capped.length === 0) return {};
  const used = await store.used(capped.map(({ id }) => id));
  const left = (name: "wallMs" | "cpuMs"): number =>
    Math.min(...capped.map(({ id, limits }) => (limits[name] ?? Infinity) - (used.get(id)?.[name] ?? 0)));
  const [wallMs, cpuMs] = [left("wallMs"), left("cpuMs")];
  return { ...(wallMs === Infinity ? {} : { wallMs }), ...(cpuMs === Infinity ? {} : { cpuMs }) };
}

/**
 * The grant as a call inside another is charged: with as much more processor time as a call around it has reserved, which may be all
 * there was. So all calls inside one, however deep, use no more beyond a cap than that one reserved.
 */
export function withinReserved(grant: Grant, { cpuMs = 0 }: Amounts): Grant {
  const more = (limits: Limits): Limits =>
    limits.cpuMs === undefined ? limits : { ...limits, cpuMs: limits.cpuMs + cpuMs };
  const ancestors = grant.ancestors.map((ancestor) => ({ ...ancestor, limits: more(ancestor.limits) }));
  return cpuMs === 0 ? grant : { ...grant, limits: more(grant.limits), ancestors };
}

/** How long the call may run: the tool's own time, within the time that is left and the grant's own end. */
export function toDeadlineMs(call: BoundCall, grant: Grant, leftMs: number | undefined, now: number): number {
  return Math.max(1, Math.min(call.timeoutMs, leftMs ?? Infinity, grant.expiresAt - now));
}

/**
 * What to reserve: one call, what the tool itself asks for, and, where a cap exists, the time that the call may take and one byte,
 * so that a call is refused once the bytes are used up. Of processor time it is what is left, if that is less, and for a nested call
 * half of that at most, so that the next one finds some. A nested call runs within the time of the one around it.
 */
export function toReserved(
  call: BoundCall,
  grant: Grant,
  { deadlineMs, leftCpuMs = Infinity, depth }: { deadlineMs?: number; leftCpuMs?: number | undefined; depth: number },
): Amounts {
  const { wallMs = deadlineMs, cpuMs, ...own } = call.reserve(grant);
  const mostCpuMs = Math.max(1, depth > 0 ? Math.floor(leftCpuMs / 2) : leftCpuMs);
  return {
    calls: 1,
    ...(wallMs === undefined || deadlineMs === undefined ? {} : { wallMs: Math.min(wallMs, deadlineMs) }),
    ...(cpuMs === undefined ? {} : { cpuMs: Math.min(cpuMs, mostCpuMs) }),
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

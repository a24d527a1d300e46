import { CapstanError, toCapstanError } from "../core/error.ts";
import { canonicalJson, sha256 } from "../core/json.ts";
import type { Amounts } from "../core/limits.ts";
import { demand, findRight, mustAsk } from "../permissions/demand.ts";
import { toCharge } from "../permissions/ledger.ts";
import type { ToolRight } from "../permissions/grant.ts";
import type { ApprovableCall } from "../permissions/permissions.ts";
import type { Charge } from "../store/store.ts";
import { leftTimes, smallest, toDeadlineMs, toReserved, withinReserved } from "./amounts.ts";
import { toAuditEntry } from "./audit-entry.ts";
import type { Admission, Caller, CallRequest, DoorServices } from "./call.ts";
import type { InFlight } from "./in-flight.ts";
import type { BoundCall, Tool } from "./tool.ts";

/** How deep calls may nest where no grant says less. */
const maxDepth = 4;

/**
 * A call that was let in: authorized, charged, on record. `amounts` is what was reserved, under `chargeId`. Disposing gives its place in
 * flight back.
 */
export interface Admitted extends Disposable {
  readonly call: BoundCall;
  readonly chargeId: string;
  readonly amounts: Amounts;
  readonly deadlineMs: number;
}

/** The door's services and its counts of calls in flight. */
export type AdmitServices = DoorServices & { readonly inFlight: InFlight };

/**
 * Decides one call and puts the decision on record: the charge and the audit row in one commit, before anything happens. Whatever
 * refuses is audited too, and thrown.
 */
export async function admit(services: AdmitServices, request: CallRequest): Promise<Admitted> {
  const { store, permissions } = services;
  const { caller, callId, retry = 0 } = request;
  const { grant } = caller;
  const chargeId = retry === 0 ? callId : `${callId} retry ${retry}`;
  const { commit = (admission: Admission) => store.commit({ scope: caller.scope, ...admission }) } = request;
  let entry = toAuditEntry("tools/call", request.name, request, permissions.now());
  try {
    await permissions.refresh();
    const now = permissions.now();
    const { tool, right, call } = decideCall(services, caller, request.name, request.args, now, (bound, { pin }) => {
      entry = { ...entry, pin, argsHash: sha256(canonicalJson(bound.args)) };
    });

    const { depth } = caller;
    const charged = withinReserved(grant, request.reservedAround ?? {});
    const left = await leftTimes(store, charged);
    const leftMs = depth > 0 ? undefined : left.wallMs;
    const deadlineMs = toDeadlineMs(call, grant, leftMs, now);
    const times = { ...(leftMs === undefined ? {} : { deadlineMs }), leftCpuMs: left.cpuMs, depth };
    const reserved = toReserved(call, grant, times);
    const amounts = retry === 0 ? reserved : { ...reserved, calls: 0 };
    const charges = [toCharge(charged, chargeId, amounts, now)];
    if (request.resumed === undefined && mustAsk(right, call.sink, caller.taint)) {
      charges.push(await release(services, request, toApprovable(request, tool, call), right, call.sink));
      entry = { ...entry, ...(request.approvalId === undefined ? {} : { approvalId: request.approvalId }) };
    }
    // A power cut must not give an approval back whose call has begun.
    const isOnce = call.effect(grant) === "once" || request.approvalId !== undefined;
    const durability = isOnce ? "power" : "process";
    const place = services.inFlight.enter(caller);
    try {
      await commit({ charges, audit: [entry], durability });
    } catch (refused) {
      place[Symbol.dispose]();
      throw refused;
    }
    return { call, chargeId, amounts, deadlineMs, [Symbol.dispose]: () => place[Symbol.dispose]() };
  } catch (thrown) {
    const refusal = toCapstanError(thrown);
    if (refusal.code === "core.internal") services.onFault(thrown);
    const decision = refusal.code === "permission.approval_needed" ? "ask" : "deny";
    await store.commit({ scope: caller.scope, audit: [{ ...entry, decision, reason: refusal.code }] });
    throw refusal;
  }
}

/** What the grant and the arguments alone decide; `onBound` sees what was asked for before it may be refused. */
export function decideCall(
  { permissions, toolbox }: DoorServices,
  caller: Caller,
  name: string,
  args: unknown,
  now: number,
  onBound: (call: BoundCall, tool: Tool) => void = () => {},
): { readonly tool: Tool; readonly right: ToolRight; readonly call: BoundCall } {
  const { grant } = caller;
  permissions.demandLive(grant);
  demandPlace(caller);
  const tool = toolbox.find(name);
  const right = tool === undefined ? null : findRight(grant, tool.name, tool.pin);
  if (tool === undefined || right === null) throw unknownTool(name);
  const call = tool.bind(args);
  onBound(call, tool);
  demand(grant, [{ type: "tool", name: tool.name, pin: tool.pin, args: call.args }, ...call.needs], now);
  return { tool, right, call };
}

/** The charge that uses up the approval of this call. Throws `permission.approval_needed` where there is none. */
async function release(
  { permissions }: DoorServices,
  { approvalId, caller }: CallRequest,
  call: ApprovableCall,
  right: ToolRight,
  sink: boolean,
): Promise<Charge> {
  if (approvalId !== undefined) return await permissions.approvals.redeem(approvalId, call);
  const isUntrusted = mustAsk({ ...right, ask: false }, sink, caller.taint);
  const reasons = [
    ...(right.ask ? ["its grant says that each call asks"] : []),
    ...(isUntrusted
      ? [`it can send out or destroy, and untrusted content came in before (${caller.taint.join(", ")})`]
      : []),
    ...(right.ask ? [] : [`a grant that is made with --tainted ${call.name} does without`]),
  ];
  throw new CapstanError(
    "permission.approval_needed",
    `A person must approve this call of ${call.name}: ${reasons.join("; ")}.`,
    {
      details: {
        callHash: permissions.approvals.hash(call),
        name: call.name,
        args: call.args,
        why: isUntrusted ? "untrusted" : "marked",
      },
    },
  );
}

/** A grant is good in its own scope, for its own run, for its own principal and to a bounded depth, wherever it turns up. */
export function demandPlace({ grant, scope, principal, runId, depth }: Caller): void {
  const same =
    grant.scope.org === scope.org &&
    grant.scope.project === scope.project &&
    grant.principal.org === principal.org &&
    grant.principal.user === principal.user;
  if (!same) throw new CapstanError("token.other_scope", "There is nothing here for this grant.");
  if (grant.run !== undefined && grant.run !== runId) {
    throw new CapstanError("token.other_run", "This grant was made for another run. Use the grant of this run.");
  }
  const deepest = Math.min(maxDepth, smallest(grant, "depth") ?? maxDepth);
  if (depth > deepest) {
    throw new CapstanError("budget.depth", `Calls may nest ${deepest} deep here, and this one is at ${depth}.`);
  }
}

/** The one answer for a tool that does not exist and for one that this grant does not show. */
function unknownTool(name: string): CapstanError {
  const shown = name.length > 128 ? `${name.slice(0, 128)}…` : name;
  return new CapstanError(
    "tool.unknown",
    `No tool is called ${JSON.stringify(shown)} here. List the tools to see which are.`,
  );
}

function toApprovable({ caller, callId }: CallRequest, { name, pin }: Tool, { args }: BoundCall): ApprovableCall {
  const { principal, scope, runId } = caller;
  return { principal, scope, ...(runId === undefined ? {} : { runId }), callId, name, pin, args };
}

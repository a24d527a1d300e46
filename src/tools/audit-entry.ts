import type { AuditEntry } from "../store/store.ts";
import type { CallRequest } from "./call.ts";

/** The row that says who asked for what, and that it was allowed; a refusal changes the decision. Of a long name its beginning. */
export function toAuditEntry(
  action: string,
  name: string,
  { caller, callId, parentId }: Pick<CallRequest, "caller" | "callId" | "parentId">,
  at: number,
): AuditEntry {
  const { grant, scope, principal, runId, taint } = caller;
  return {
    at,
    scope,
    user: principal.user,
    grantId: grant.id,
    ancestors: grant.ancestors.map(({ id }) => id),
    ...(runId === undefined ? {} : { runId }),
    callId,
    ...(parentId === undefined ? {} : { parentId }),
    action,
    name: name.slice(0, 128),
    taint,
    decision: "allow",
  };
}

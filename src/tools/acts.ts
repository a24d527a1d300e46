import { demand } from "../permissions/demand.ts";
import { toAuditEntry } from "./audit-entry.ts";
import type { CallRequest, DoorServices } from "./call.ts";
import type { CallContext } from "./tool.ts";

/** What a running call may ask the door and put on record, for what shows only while it runs. */
export function toActs(
  { store, permissions, onFault }: Pick<DoorServices, "store" | "permissions" | "onFault">,
  request: CallRequest,
): Pick<CallContext, "demand" | "record"> {
  const { grant, scope } = request.caller;
  return {
    async demand(needs) {
      await permissions.refresh();
      permissions.demandLive(grant);
      demand(grant, needs, permissions.now());
    },
    async record({ action, name, refused }) {
      const entry = toAuditEntry(action, name, request, permissions.now());
      const decision = refused === undefined ? {} : ({ decision: "deny", reason: refused } as const);
      await store.commit({ scope, audit: [{ ...entry, ...decision }] }).catch(onFault);
    },
  };
}

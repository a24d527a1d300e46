import type { ErrorCode } from "../../core/error.ts";
import { newId } from "../../core/id.ts";
import type { Principal, Scope } from "../../core/scope.ts";
import { trusted } from "../../core/taint.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Logger } from "../../host/telemetry/logger.ts";
import type { Store } from "../../store/store.ts";

/** A request that is refused before it comes to the door, which records its own refusals. */
export interface Refusal {
  /** The method. */
  readonly action: string;
  /** The tool, the prompt, the URI, or "". */
  readonly name: string;
  readonly code: ErrorCode;
  /** Missing: what was presented came to no grant. */
  readonly grant?: Grant;
}

/** Adds a refusal to the audit log, and tells of it in the log of the process. */
export type RecordRefusal = (refusal: Refusal) => Promise<void>;

/** Opens the record of refusals; `owner` stands for requests without a grant. */
export function openRefusals(services: {
  readonly store: Store;
  readonly now: () => number;
  readonly owner: { readonly scope: Scope; readonly principal: Principal };
  readonly logger?: Logger | undefined;
}): RecordRefusal {
  return async ({ action, name, code, grant }) => {
    const { scope, principal } = grant ?? services.owner;
    const entry = {
      at: services.now(),
      scope,
      user: principal.user,
      grantId: grant?.id ?? "unknown",
      ancestors: grant?.ancestors.map(({ id }) => id) ?? [],
      callId: newId("call"),
      action,
      name: name.slice(0, 128),
      taint: trusted,
      decision: "deny",
      reason: code,
    } as const;
    const { at, grantId, callId } = entry;
    services.logger?.write("warn", { name: "request_refused", at, action, grantId, callId, code });
    await services.store.commit({ scope, audit: [entry] });
  };
}

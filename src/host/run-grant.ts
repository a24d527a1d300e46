import { CapstanError } from "../core/error.ts";
import type { Json } from "../core/json.ts";
import { deepFreeze } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import { Grant } from "../permissions/grant.ts";
import type { RecordWrite, Store } from "../store/store.ts";

const kind = "run-grant";

/** The record that keeps the grant of a run; it is written once. */
export function toGrantRecord(grant: Grant, runId: string): RecordWrite {
  const value: Json = JSON.parse(JSON.stringify(grant));
  return { kind, key: runId, value, ifVersion: 0 };
}

/** The recorded grant of a run; null where there is no such run. */
export async function findRunGrant(store: Store, scope: Scope, runId: string): Promise<Grant | null> {
  const record = await store.record(scope, kind, runId);
  return record === null ? null : deepFreeze(Grant.parse(record.value));
}

/** The recorded grant of a run. Throws `run.not_found`. */
export async function loadRunGrant(store: Store, scope: Scope, runId: string): Promise<Grant> {
  const grant = await findRunGrant(store, scope, runId);
  if (grant === null) throw new CapstanError("run.not_found", `There is no run ${runId}. See \`capstan runs ls\`.`);
  return grant;
}

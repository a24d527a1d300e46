import { CapstanError } from "../core/error.ts";
import { deepFreeze, isJsonObject } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import { Grant } from "../permissions/grant.ts";
import { lineageOf, maySee } from "../permissions/lineage.ts";
import type { RecordWrite, Store } from "../store/store.ts";

const kind = "run-grant";

/** The record that keeps the grant of a run; it is written once. */
export function toGrantRecord(grant: Grant, runId: string): RecordWrite {
  const value: unknown = grant;
  if (!isJsonObject(value)) throw new CapstanError("core.internal", "A grant is an object of JSON.");
  return { kind, key: runId, value, ifVersion: 0 };
}

/** The recorded grant of a run; null where there is no such run. Throws `run.corrupt`. */
export async function findRunGrant(store: Store, scope: Scope, runId: string): Promise<Grant | null> {
  const record = await store.record(scope, kind, runId);
  if (record === null) return null;
  const { data, error } = Grant.safeParse(record.value);
  if (data !== undefined) return deepFreeze(data);
  throw new CapstanError(
    "run.corrupt",
    `The grant of run ${runId} can't be read, so nobody can go on with it. Restore the store from a backup, or start a new run.`,
    { cause: error, details: { runId } },
  );
}

/** The recorded grant of a run. Throws `run.not_found`, `run.corrupt`. */
export async function loadRunGrant(store: Store, scope: Scope, runId: string): Promise<Grant> {
  const grant = await findRunGrant(store, scope, runId);
  if (grant === null) throw notFound(runId);
  return grant;
}

/** Refuses with `run.not_found` a run that was begun under a grant (`recorded`) of which this one sees nothing (`maySee`). */
export function demandSeen(grant: Grant, recorded: Grant, runId: string): void {
  if (!maySee(grant, lineageOf(recorded))) throw notFound(runId);
}

/** For a run that is not there, or not for whoever asks. */
export function notFound(runId: string): CapstanError {
  return new CapstanError("run.not_found", `There is no run ${runId}. See \`capstan runs ls\`.`);
}

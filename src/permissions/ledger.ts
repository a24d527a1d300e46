import type { Amounts } from "../core/limits.ts";
import type { Charge } from "../store/store.ts";
import type { Grant } from "./grant.ts";

/**
 * The charge of one call at `at` (ms): on the grant and on each of its ancestors, in the order of their ids, so that two calls never
 * wait for each other crosswise. One call is charged unless `amounts` says otherwise.
 */
export function toCharge(grant: Grant, callId: string, amounts: Amounts, at: number): Charge {
  const accounts = [...grant.ancestors, grant]
    .map(({ id, limits }) => ({ grantId: id, limits }))
    .sort((a, b) => (a.grantId < b.grantId ? -1 : 1));
  return { callId, accounts, amounts: { calls: 1, ...amounts }, at };
}

import type { ErrorCode } from "../core/error.ts";
import { toCapstanError } from "../core/error.ts";
import { toCharge } from "../permissions/ledger.ts";
import { smallest } from "./amounts.ts";
import { toAuditEntry } from "./audit-entry.ts";
import type { DoorServices } from "./call.ts";
import { cancelled } from "./perform.ts";
import type { ReadingRequest } from "./reading.ts";

/** What is asked for beside tools, as the audit log names it. */
export type Action = "resources/read" | "resources/subscribe" | "prompts/get" | "completion/complete";

/** What is charged, as one call. */
const charged: ReadonlySet<Action> = new Set(["resources/read", "prompts/get"]);

/** With these a source refuses, as the door does. Whatever else goes wrong happened to a reading that was allowed. */
const refusals: ReadonlySet<ErrorCode> = new Set(["resource.unknown", "prompt.unknown", "tool.bad_arguments"]);

/**
 * Puts one reading on record: one row, which stands before anything is answered. `read` calls `letIn` once the grant has allowed it and
 * before a source is asked; that charges it. The bytes of what it answers are settled where a limit counts them.
 */
export async function onRecord<T>(
  { store, permissions, onFault }: DoorServices,
  asked: { readonly action: Action; readonly name: string; readonly request: ReadingRequest },
  read: (letIn: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const { action, name, request } = asked;
  const { caller, callId, signal } = request;
  const { scope, grant } = caller;
  const now = permissions.now();
  const countsBytes = charged.has(action) && smallest(grant, "bytes") !== undefined;
  let isIn = false;

  const record = async (refused?: ErrorCode, settles: Parameters<typeof store.commit>[0]["settles"] = []) => {
    const decision = refused === undefined ? {} : ({ decision: "deny", reason: refused } as const);
    await store.commit({ scope, settles, audit: [{ ...toAuditEntry(action, name, request, now), ...decision }] });
  };
  const letIn = async (): Promise<void> => {
    const amounts = { calls: 1, ...(countsBytes ? { bytes: 1 } : {}) };
    if (charged.has(action)) await store.commit({ scope, charges: [toCharge(grant, callId, amounts, now)] });
    isIn = true;
  };

  let answer: T;
  try {
    answer = await read(letIn);
  } catch (thrown) {
    const error = signal.aborted ? cancelled(name) : toCapstanError(thrown);
    if (error.code === "core.internal") onFault(thrown);
    await record(isIn && !refusals.has(error.code) ? undefined : error.code);
    throw error;
  }
  const bytes = countsBytes ? Buffer.byteLength(JSON.stringify(answer)) : 0;
  await record(undefined, countsBytes ? [{ callId, amounts: { calls: 1, bytes }, outcome: "done" }] : []);
  return answer;
}

import { CapstanError } from "../core/error.ts";
import type { RunInput } from "../core/event.ts";
import type { Scope } from "../core/scope.ts";
import type { Store } from "../store/store.ts";

/** What has come for a run and is not in its log, the oldest first, and the ids of all that is taken with it. */
interface Received {
  readonly inputs: readonly RunInput[];
  readonly ids: readonly number[];
}

/**
 * Reads the inbox of a run. What can't be read may be somebody's no, so nothing goes on past it (`run.corrupt`), but for the end of the run
 * by a person's word: a cancel takes it along.
 */
export async function readInbox(store: Store, scope: Scope, runId: string): Promise<Received> {
  const items = await store.inbox(scope, runId);
  const inputs = items.flatMap(({ input }) => input ?? []);
  const unread = items.find(({ input }) => input === null);
  if (unread !== undefined && !inputs.some(({ type }) => type === "cancel")) {
    throw new CapstanError(
      "run.corrupt",
      `Input ${unread.id} for run ${runId} can't be read, so the run can't go on. End it with \`capstan runs cancel ${runId}\`, and start a new one.`,
      { details: { runId, id: unread.id } },
    );
  }
  return { inputs, ids: items.map(({ id }) => id) };
}

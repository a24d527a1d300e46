import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { RunInput } from "../core/event.ts";
import type { Scope } from "../core/scope.ts";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { integer, scopeKey, text, toQuery } from "./sql.ts";
import type { Batch, InboxItem } from "./store.ts";

/** Inputs on their way into the logs of runs. */
export function openInbox(db: DatabaseSync) {
  const insert = toQuery(db, "insert into inbox (scope, run, input) values (?, ?, ?)");
  const waiting = toQuery(db, "select id, input from inbox where scope = ? and run = ? order by id");
  const find = toQuery(db, "select 1 from inbox where id = ? and scope = ?");
  const remove = toQuery(db, "delete from inbox where id = ?");

  return {
    /** Refuses with `store.conflict` to take an item that has been taken: nobody answers a question twice. */
    plan({ scope, inbox = [], taken = [] }: Batch): Writes {
      if (inbox.length === 0 && taken.length === 0) return noWrites;
      const key = scopeKey(scope);
      for (const id of taken) {
        if (find.get(id, key) === undefined) {
          throw new CapstanError(
            "store.conflict",
            `Input ${id} was already taken into a run's log. Read the inbox and the log again.`,
            { details: { id } },
          );
        }
      }
      const inputs = inbox.map(({ runId, input }) => ({ runId, input: JSON.stringify(input) }));
      return () => {
        for (const id of taken) remove.run(id);
        for (const { runId, input } of inputs) insert.run(key, runId, input);
      };
    },

    /** Oldest first. */
    read(scope: Scope, runId: string): readonly InboxItem[] {
      return waiting
        .all(scopeKey(scope), runId)
        .map(([id, input]) => ({ id: integer(id), input: toInput(text(input)) }));
    },
  };
}

function toInput(json: string): RunInput | null {
  try {
    return RunInput.parse(JSON.parse(json));
  } catch {
    return null;
  }
}

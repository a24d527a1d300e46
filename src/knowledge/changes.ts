import type { DatabaseSync } from "node:sqlite";
import type { JsonObject } from "../core/json.ts";
import { toQuery } from "../store/sql.ts";

/** One row that a write touches. `id` is the row's; an alias and an evidence carry that of their entity and their fact. */
export interface Change {
  readonly op: "insert" | "update" | "close";
  readonly kind: "entity" | "alias" | "relation" | "source" | "fact" | "evidence";
  readonly id: number;
  readonly before?: JsonObject;
  readonly after: JsonObject;
}

/** Writes the graph's audit, within the transaction of the write it tells of. */
export function openChanges(db: DatabaseSync): (at: number, change: Change) => void {
  const insert = toQuery(db, "insert into change (at, op, kind, id, before, after) values (?, ?, ?, ?, ?, ?)");
  return (at, { op, kind, id, before, after }) => {
    insert.run(at, op, kind, id, before === undefined ? null : JSON.stringify(before), JSON.stringify(after));
  };
}

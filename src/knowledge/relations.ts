import type { DatabaseSync } from "node:sqlite";
import { integer, toQuery } from "../store/sql.ts";
import type { Change } from "./changes.ts";
import type { RelationInput } from "./model.ts";
import { toLabel } from "./names.ts";

export interface Relation {
  readonly key: number;
  readonly name: string;
  /** An entity has one value at a time. */
  readonly functional: boolean;
}

/** Relations by name. One that was declared functional stays so: facts were ended because of it. */
export function openRelations(db: DatabaseSync, log: (at: number, change: Change) => void) {
  const find = toQuery(db, "select id, functional, inverse from rel where name = ?");
  const insert = toQuery(db, "insert into rel (name, functional, inverse) values (?, ?, ?) returning id");
  const update = toQuery(db, "update rel set functional = ?, inverse = ? where id = ?");

  return ({ name: given, functional = false, inverse: other }: RelationInput, now: number): Relation => {
    const name = toLabel(given, "a relation");
    const inverse = other === undefined ? null : toLabel(other, "an inverse relation");
    const row = find.get(name);
    if (row === undefined) {
      const key = integer(insert.get(name, functional ? 1 : 0, inverse)?.[0]);
      log(now, { op: "insert", kind: "relation", id: key, after: { name, functional, inverse } });
      return { key, name, functional };
    }
    const key = integer(row[0]);
    const before = { functional: row[1] === 1, inverse: typeof row[2] === "string" ? row[2] : null };
    const after = { functional: before.functional || functional, inverse: before.inverse ?? inverse };
    if (after.functional !== before.functional || after.inverse !== before.inverse) {
      update.run(after.functional ? 1 : 0, after.inverse, key);
      log(now, { op: "update", kind: "relation", id: key, before, after });
    }
    return { key, name, functional: after.functional };
  };
}

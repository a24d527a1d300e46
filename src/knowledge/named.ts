import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import { integer, text, toQuery } from "../store/sql.ts";
import { openEdges } from "./edges.ts";
import { openByName } from "./exact.ts";
import { toNorm } from "./names.ts";
import type { Shown } from "./show.ts";
import { openShow } from "./show.ts";
import type { View } from "./view.ts";

/** Behind every text that begins with what stands before it, in the order of SQLite. */
const last = "\u{10ffff}";

/** Finds entities by what they are called, without any ranking. */
export function openNamed(db: DatabaseSync, clock: Clock) {
  const byName = openByName(db);
  const byId = toQuery(db, "select id, merged_into from entity where uid = ?");
  const byKey = toQuery(db, "select id, merged_into from entity where id = ?");
  const beginning = toQuery(
    db,
    `select name from entity indexed by entity_norm where norm >= ? and norm < ? and merged_into is null
     order by norm, id limit ?`,
  );
  const edgesOf = openEdges(db);
  const show = openShow(db);

  /** The entity of a public id, or what it was merged into. */
  const find = (id: string): readonly number[] => {
    let row = byId.get(id);
    while (row !== undefined && row[1] !== null) row = byKey.get(integer(row[1]));
    return row === undefined ? [] : [integer(row[0])];
  };

  return {
    /** The entities of an id, or of a name or an alias in its normal form; with what is believed and true now. */
    named(name: string): readonly Shown[] {
      const view: View = { asOf: clock(), knownAt: null, minConfidence: 0, relations: null };
      const keys = /^e_[0-9a-f]{16}$/.test(name) ? find(name) : byName(toNorm(name));
      const { byNode } = edgesOf(keys, view, () => false);
      return keys.map((key) => show(key, byNode.get(key) ?? [], new Map()));
    },

    /** Names that begin so, in their normal form and in its order. */
    names(start: string, limit: number): readonly string[] {
      const norm = toNorm(start);
      return [...new Set(beginning.all(norm, `${norm}${last}`, limit).map(([name]) => text(name)))];
    },
  };
}

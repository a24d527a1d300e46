import { createHash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { canonicalJson } from "../core/json.ts";
import { integer, toQuery } from "../store/sql.ts";
import type { Change } from "./changes.ts";
import { writeLabels } from "./labels.ts";
import type { Source } from "./model.ts";

/**
 * Finds or makes the row of a source. What it says of itself, its actor and its labels are its identity, so that a call that runs
 * again adds no second one.
 */
export function openSources(db: DatabaseSync, log: (at: number, change: Change) => void) {
  const find = toQuery(db, "select id from source indexed by source_hash where hash = ?");
  const insert = toQuery(
    db,
    `insert into source (kind, uri, title, hash, observed_at, recorded_at, actor, span, meta)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?) returning id`,
  );

  return (source: Source, now: number): number => {
    const hash = createHash("sha256").update(canonicalJson(source)).digest();
    const found = find.get(hash)?.[0];
    if (found !== undefined) return integer(found);
    const { kind, uri = null, title = null, observedAt = null, actor = null, span = null, taint } = source;
    const row = insert.get(kind, uri, title, hash, observedAt, now, actor, span, writeLabels(taint));
    const id = integer(row?.[0]);
    log(now, { op: "insert", kind: "source", id, after: { kind, uri, title, actor } });
    return id;
  };
}

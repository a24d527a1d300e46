import type { DatabaseSync } from "node:sqlite";
import { integer, text, toQuery } from "../store/sql.ts";
import { toMatch, toNames, toTrigrams } from "./names.ts";
import { toSpelling } from "./spelling.ts";

/** An entity with a name or an alias that is spelled like the query. */
export interface Likeness {
  readonly entity: number;
  readonly name: string;
  /** From 0 to 1. */
  readonly likeness: number;
}

/** A longer query is a sentence and no name. */
const maxQueryLength = 64;
/** The rarest trigrams say the most; all of them cost fifteen times as much and find the same names. */
const maxTrigrams = 6;
/** Entities that share some of these trigrams, together. */
const maxRows = 4_000;
const maxCandidates = 100;
/** Names and aliases of the candidates that are compared with the query. */
const maxNames = 2_000;
/** Less alike is no misspelling. */
const leastLikeness = 0.3;

/** Finds names in spite of misspellings and missing parts. */
export function openLikeness(db: DatabaseSync): (query: string) => readonly Likeness[] {
  const count = toQuery(db, "select doc from temp.trigram_counts where term = ?");
  const candidates = toQuery(db, "select rowid from entity_tri where entity_tri match ? order by rank limit ?");
  const names = toQuery(
    db,
    `select e.id, e.norm from json_each(?) j cross join entity e on e.id = j.value
     union all
     select a.entity, a.norm from json_each(?) j cross join alias a indexed by alias_entity on a.entity = j.value
     limit ?`,
  );

  const rarest = (norms: readonly string[]): readonly string[] => {
    const counted = [...new Set(norms.flatMap((norm) => [...toTrigrams(norm)]))]
      .map((trigram) => ({ trigram, rows: integer(count.get(trigram)?.[0] ?? 0) }))
      .filter(({ rows }) => rows > 0)
      .toSorted((a, b) => a.rows - b.rows);
    const chosen: string[] = [];
    let left = maxRows;
    for (const { trigram, rows } of counted.slice(0, maxTrigrams)) {
      left -= rows;
      if (left >= 0) chosen.push(trigram);
    }
    return chosen;
  };

  return (query) => {
    const norms = toNames(query).filter((norm) => norm.length <= maxQueryLength);
    const trigrams = rarest(norms);
    if (trigrams.length === 0) return [];
    const found = candidates.all(trigrams.map(toMatch).join(" OR "), maxCandidates).map((row) => integer(row[0]));
    const list = JSON.stringify(found);
    const spellings = norms.map(toSpelling);
    const best = new Map<number, Likeness>();
    for (const [key, other] of names.all(list, list, maxNames)) {
      const [entity, name] = [integer(key), text(other)];
      const likeness = Math.max(...spellings.map((spelling) => spelling(name)));
      if (likeness >= leastLikeness && likeness > (best.get(entity)?.likeness ?? 0)) {
        best.set(entity, { entity, name, likeness });
      }
    }
    return [...best.values()];
  };
}

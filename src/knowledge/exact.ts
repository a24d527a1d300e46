import type { DatabaseSync } from "node:sqlite";
import { integer, toQuery } from "../store/sql.ts";
import { toNorm, toPhrases } from "./names.ts";

/** An entity whose name or alias stands in the query. */
export interface ExactHit {
  readonly entity: number;
  readonly phrase: string;
  /** The part of the query's telling words that it is; 1 for the whole query. */
  readonly share: number;
}

const maxEntities = 20;

/** Finds the entities of a name or an alias, given in its normal form; those of the name first. */
export function openByName(db: DatabaseSync): (norm: string) => readonly number[] {
  const byNorm = toQuery(
    db,
    "select id from entity indexed by entity_norm where norm = ? and merged_into is null order by id limit ?",
  );
  const byAlias = toQuery(
    db,
    `select e.id from alias a cross join entity e on e.id = a.entity
     where a.norm = ? and e.merged_into is null order by e.id limit ?`,
  );
  return (norm) => {
    const rows = [...byNorm.all(norm, maxEntities), ...byAlias.all(norm, maxEntities)];
    return [...new Set(rows.map((row) => integer(row[0])))];
  };
}

/**
 * Finds the entities that a query names, before anything is ranked: the whole query, or else the longest runs of its words that are
 * names. A run within a longer one that was found is not looked for.
 */
export function openExact(db: DatabaseSync): (query: string) => readonly ExactHit[] {
  const byName = openByName(db);
  const find = (phrase: string, share: number): readonly ExactHit[] =>
    byName(phrase).map((entity) => ({ entity, phrase, share }));

  return (query) => {
    const whole = find(toNorm(query), 1);
    if (whole.length > 0) return whole;
    const hits: ExactHit[] = [];
    const found: string[] = [];
    for (const { norm, share } of toPhrases(query)) {
      if (found.some((longer) => ` ${longer} `.includes(` ${norm} `))) continue;
      const named = find(norm, share);
      if (named.length > 0) found.push(norm);
      hits.push(...named);
    }
    return hits;
  };
}

import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint } from "../core/taint.ts";
import { toQuery } from "../store/sql.ts";
import { openChanges } from "./changes.ts";
import type { Entity, Writer } from "./entities.ts";
import { openEntities } from "./entities.ts";
import type { Statement } from "./facts.ts";
import { openFacts } from "./facts.ts";
import type { Added, Additions, FactInput, NamedEntity, Source } from "./model.ts";
import { entitiesShown, toMs } from "./model.ts";
import { openRelations } from "./relations.ts";
import { openSources } from "./sources.ts";

/** What an addition changed, and the labels of the entities that it found and shows. */
export interface Addition {
  readonly added: Added;
  readonly taint: Taint;
}

/** Adds a batch in one transaction: all of it, with a change row for each row that it touched, or nothing. */
export function openAddFacts(db: DatabaseSync, clock: Clock): (additions: Additions, source: Source) => Addition {
  const log = openChanges(db);
  const toSource = openSources(db, log);
  const toRelation = openRelations(db, log);
  const entities = openEntities(db, log);
  const facts = openFacts(db, log);
  const begin = toQuery(db, "begin immediate");
  const commit = toQuery(db, "commit");
  const rollback = toQuery(db, "rollback");

  const add = (additions: Additions, source: Source): Addition => {
    const now = clock();
    const writer: Writer = { now, source: toSource(source, now), taint: source.taint };
    const named = new Map<string, NamedEntity>();
    let taint: Taint = [];
    const name = ({ entity, created }: { entity: Entity; created: boolean }): Entity => {
      const { id, name: full, type } = entity;
      named.set(id, { id, name: full, type, created: created || named.get(id)?.created === true });
      taint = mergeTaint(taint, entity.taint);
      return entity;
    };

    for (const entity of additions.entities) name(entities.describe(entity, writer));
    for (const relation of additions.relations) toRelation(relation, now);

    const counts = { added: 0, confirmed: 0, refined: 0, ended: 0 };
    const single = new Map<string, string>();
    for (const fact of additions.facts) {
      const statement: Statement = {
        subject: name(entities.resolve(fact.subject, writer)),
        relation: toRelation({ name: fact.relation }, now),
        object: fact.object === undefined ? (fact.value ?? "") : name(entities.resolve(fact.object, writer)),
        told: { from: fact.validFrom === undefined ? null : toMs(fact.validFrom), to: toEnd(fact) },
        confidence: fact.confidence,
        text: fact.text,
      };
      demandOneValue(statement, single);
      const { change, ended, isNews } = facts.state(statement, writer);
      counts[change] += 1;
      counts.ended += ended;
      if (!isNews) continue;
      entities.touch(statement.subject, now);
      if (typeof statement.object !== "string") entities.touch(statement.object, now);
    }
    const all = [...named.values()];
    const entitiesCreated = all.filter(({ created }) => created).length;
    return { added: { ...counts, entitiesCreated, entities: all.slice(0, entitiesShown) }, taint };
  };

  return (additions, source) => {
    begin.run();
    try {
      const addition = add(additions, source);
      commit.run();
      return addition;
    } finally {
      if (db.isTransaction) rollback.run();
    }
  };
}

function toEnd({ validFrom, validTo }: FactInput): number | null {
  if (validTo === undefined) return null;
  if (validFrom === undefined || toMs(validFrom) < toMs(validTo)) return toMs(validTo);
  throw new CapstanError(
    "knowledge.bad_fact",
    `A fact must end after it begins, got validFrom ${validFrom} and validTo ${validTo}.`,
  );
}

/** Two undated values of a functional relation in one batch: the second would end the first at the moment in which it begins. */
function demandOneValue({ subject, relation, object, told }: Statement, single: Map<string, string>): void {
  if (!relation.functional || told.from !== null || told.to !== null) return;
  const place = `${subject.key} ${relation.key}`;
  const value = typeof object === "string" ? `value ${object}` : `entity ${object.key}`;
  if ((single.get(place) ?? value) !== value) {
    throw new CapstanError(
      "knowledge.bad_fact",
      `${relation.name} has one value at a time, and ${subject.name} gets two in one call. Give validFrom and validTo, or leave one out.`,
    );
  }
  single.set(place, value);
}

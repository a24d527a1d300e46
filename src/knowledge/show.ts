import type { DatabaseSync } from "node:sqlite";
import type { Taint } from "../core/taint.ts";
import { mergeTaint } from "../core/taint.ts";
import type { Row } from "../store/sql.ts";
import { integer, text, toQuery } from "../store/sql.ts";
import type { Edge } from "./edges.ts";
import { toSaying } from "./facts.ts";
import { readAllLabels, readLabels } from "./labels.ts";
import type { Found, FoundFact } from "./query.ts";

const factsShown = 5;
const aliasesShown = 10;
const sourcesShown = 3;

/** An entity as a result shows it, with the labels of everything that is shown of it. */
export interface Shown {
  readonly shown: Pick<Found, "id" | "name" | "type" | "aliases" | "summary" | "facts">;
  readonly taint: Taint;
}

/** Reads what a result shows: the entity, its aliases, its best facts and their sources. */
export function openShow(db: DatabaseSync) {
  const entity = toQuery(
    db,
    "select e.uid, e.name, t.name, e.summary, e.attrs from entity e join entity_type t on t.id = e.type where e.id = ?",
  );
  const aliases = toQuery(db, "select text from alias indexed by alias_entity where entity = ? order by norm limit ?");
  const aliasLabels = toQuery(
    db,
    "select distinct s.meta from alias a indexed by alias_entity join source s on s.id = a.source where a.entity = ?",
  );
  const facts = toQuery(
    db,
    `select f.id, s.uid, s.name, s.attrs, r.name, o.uid, o.name, o.attrs, f.value, f.text,
       f.valid_from, f.valid_to, f.tx_from, f.tx_to, f.conf
     from json_each(?) j cross join fact f on f.id = j.value
     join entity s on s.id = f.s join rel r on r.id = f.p left join entity o on o.id = f.o`,
  );
  const sources = toQuery(
    db,
    `select s.kind, s.uri, s.title, s.recorded_at, s.meta from fact_source x join source s on s.id = x.source
     where x.fact = ? order by s.id limit ?`,
  );
  const sourceLabels = toQuery(
    db,
    "select distinct s.meta from fact_source x join source s on s.id = x.source where x.fact = ?",
  );

  const toFact = (row: Row): { readonly fact: FoundFact; readonly taint: Taint } => {
    const [key, subjectId, subject, subjectAttrs, relation, objectId, object, objectAttrs, value, sentence] = row;
    const [from, to, recorded, retired, confidence] = row.slice(10);
    const ends = { subject: { id: text(subjectId), name: text(subject) }, relation: text(relation) };
    const other = object === null ? { value: text(value) } : { object: { id: text(objectId), name: text(object) } };
    const saying = toSaying(ends.relation, other.value ?? null);
    const id = integer(key);
    return {
      fact: {
        id,
        ...ends,
        ...other,
        ...(sentence === saying ? {} : { text: text(sentence) }),
        ...(from === null ? {} : { validFrom: toIso(from) }),
        ...(to === null ? {} : { validTo: toIso(to) }),
        recordedAt: toIso(recorded),
        ...(retired === null ? {} : { retiredAt: toIso(retired) }),
        confidence: integer(confidence),
        sources: sources.all(id, sourcesShown).map(toSource),
      },
      taint: mergeTaint(
        readAllLabels([subjectAttrs, objectAttrs]),
        readAllLabels(sourceLabels.all(id).map(([meta]) => meta)),
      ),
    };
  };

  /** `matched`: relevance of the facts that the words of the query found; they are shown first, then the surest ones. */
  return (key: number, edges: readonly Edge[], matched: ReadonlyMap<number, number>): Shown => {
    const [id, name, type, summary, attrs] = entity.get(key) ?? [];
    const best = bestFacts(edges, matched);
    const rows = new Map(facts.all(JSON.stringify(best)).map((row) => [integer(row[0]), toFact(row)]));
    const shown = best.flatMap((fact) => rows.get(fact) ?? []);
    return {
      shown: {
        id: text(id),
        name: text(name),
        type: text(type),
        aliases: aliases.all(key, aliasesShown).map(([alias]) => text(alias)),
        ...(summary === null ? {} : { summary: text(summary) }),
        facts: shown.map(({ fact }) => fact),
      },
      taint: mergeTaint(
        readLabels(attrs),
        readAllLabels(aliasLabels.all(key).map(([meta]) => meta)),
        ...shown.map(({ taint }) => taint),
      ),
    };
  };
}

function bestFacts(edges: readonly Edge[], matched: ReadonlyMap<number, number>): readonly number[] {
  const confidence = new Map(edges.map((edge) => [edge.fact, edge.confidence]));
  return [...new Set([...matched.keys(), ...confidence.keys()])]
    .toSorted(
      (a, b) =>
        (matched.get(b) ?? 0) - (matched.get(a) ?? 0) ||
        (confidence.get(b) ?? 0) - (confidence.get(a) ?? 0) ||
        // The newest of equally sure ones.
        b - a,
    )
    .slice(0, factsShown);
}

function toSource([kind, uri, title, recordedAt, meta]: Row): FoundFact["sources"][number] {
  const taint = readLabels(meta);
  return {
    kind: text(kind),
    ...(uri === null ? {} : { uri: text(uri) }),
    ...(title === null ? {} : { title: text(title) }),
    recordedAt: toIso(recordedAt),
    ...(taint.length === 0 ? {} : { taint: [...taint] }),
  };
}

const toIso = (ms: Row[number] | undefined): string => new Date(integer(ms)).toISOString();

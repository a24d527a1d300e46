import type { DatabaseSync } from "node:sqlite";
import type { Row } from "../store/sql.ts";
import { integer, text, toQuery } from "../store/sql.ts";
import type { Change } from "./changes.ts";
import type { Entity, Writer } from "./entities.ts";
import type { Interval } from "./interval.ts";
import { complete, contains, isSame, overlap, without } from "./interval.ts";
import type { Relation } from "./relations.ts";

/** A fact to be written: its ends exist, its relation too. */
export interface Statement {
  readonly subject: Entity;
  readonly relation: Relation;
  /** Another entity, or a value. */
  readonly object: Entity | string;
  readonly told: Interval;
  readonly confidence: number;
  /** The sentence, where one was given. */
  readonly text: string | undefined;
}

export interface Written {
  readonly change: "added" | "confirmed" | "refined";
  /** How many other values of a functional relation it ended. */
  readonly ended: number;
}

/** A fact that is believed now. */
interface Believed extends Interval {
  readonly key: number;
  readonly object: number | null;
  readonly value: string | null;
  readonly confidence: number;
  readonly text: string;
}

const columns = "id, o, value, valid_from, valid_to, conf, text";

/** Facts: added, confirmed, refined and ended, never overwritten. */
export function openFacts(db: DatabaseSync, log: (at: number, change: Change) => void) {
  const same = toQuery(
    db,
    `select ${columns} from fact indexed by fact_spo where s = ? and p = ? and o is ? and value is ? and tx_to is null order by id`,
  );
  const ofRelation = toQuery(
    db,
    `select ${columns} from fact indexed by fact_spo where s = ? and p = ? and tx_to is null order by id`,
  );
  const insert = toQuery(
    db,
    `insert into fact (s, p, o, value, valid_from, valid_to, tx_from, conf, source, text)
     values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id`,
  );
  const index = toQuery(db, "insert into fact_fts (rowid, text) values (?, ?)");
  const close = toQuery(db, "update fact set tx_to = ?, superseded_by = ? where id = ?");
  const raise = toQuery(db, "update fact set conf = ? where id = ?");
  const insertEvidence = toQuery(
    db,
    "insert into fact_source (fact, source) values (?, ?) on conflict do nothing returning fact",
  );
  const evidence = toQuery(db, "select source from fact_source where fact = ?");

  const addEvidence = (fact: number, source: number, now: number): boolean => {
    if (insertEvidence.get(fact, source) === undefined) return false;
    log(now, { op: "insert", kind: "evidence", id: fact, after: { source } });
    return true;
  };

  /** Writes a row that is believed from now on, with the sources of the rows that it takes the place of. */
  const write = (
    { subject, relation }: Statement,
    fact: Omit<Believed, "key">,
    from: readonly Believed[],
    writer: Writer,
    own: boolean,
  ): number => {
    const sources = new Set(from.flatMap(({ key }) => evidence.all(key).map((row) => integer(row[0]))));
    if (own) sources.add(writer.source);
    const first = own ? writer.source : ([...sources][0] ?? writer.source);
    const { object, value, confidence } = fact;
    const row = insert.get(
      subject.key,
      relation.key,
      object,
      value,
      fact.from,
      fact.to,
      writer.now,
      confidence,
      first,
      fact.text,
    );
    const key = integer(row?.[0]);
    index.run(key, fact.text);
    const after = { s: subject.key, p: relation.key, o: object, value, from: fact.from, to: fact.to, confidence };
    log(writer.now, { op: "insert", kind: "fact", id: key, after });
    for (const source of sources) addEvidence(key, source, writer.now);
    return key;
  };

  const end = (facts: readonly Believed[], by: number, now: number): void => {
    for (const { key } of facts) {
      close.run(now, by, key);
      log(now, {
        op: "close",
        kind: "fact",
        id: key,
        before: { tx_to: null },
        after: { tx_to: now, superseded_by: by },
      });
    }
  };

  /** The same fact, told again: what changes is who said it, and how sure we are. Repetition is no proof, so the surest one counts. */
  const confirm = (fact: Believed, { confidence }: Statement, { now, source }: Writer): boolean => {
    const grown = addEvidence(fact.key, source, now);
    if (confidence <= fact.confidence) return grown;
    raise.run(confidence, fact.key);
    const [before, after] = [{ confidence: fact.confidence }, { confidence }];
    log(now, { op: "update", kind: "fact", id: fact.key, before, after });
    return true;
  };

  return {
    /**
     * Writes a statement. Told again, a fact is confirmed; told with other times, it is refined, and the former belief is kept as
     * closed; a new value of a functional relation ends the others for the time in which it holds. `isNews` tells whether anything
     * was written.
     */
    state(statement: Statement, writer: Writer): Written & { readonly isNews: boolean } {
      const { subject, relation, object, told } = statement;
      const [objectKey, value] = typeof object === "string" ? [null, object] : [object.key, null];
      const known = same.all(subject.key, relation.key, objectKey, value).map(toBelieved);
      const others = relation.functional
        ? ofRelation
            .all(subject.key, relation.key)
            .map(toBelieved)
            .filter((fact) => fact.object !== objectKey || fact.value !== value)
        : [];

      // Without times a statement is about now.
      const undated = told.from === null && told.to === null;
      const present = known.find((fact) => contains(fact, writer.now));
      if (undated && present !== undefined) {
        return { change: "confirmed", ended: 0, isNews: confirm(present, statement, writer) };
      }
      // What was another way before, or was so and ended, can be so only from now on.
      const sinceNow = told.from === null && (told.to === null || told.to > writer.now);
      const changes = others.length > 0 || (undated && known.length > 0);
      const interval = sinceNow && changes ? { from: writer.now, to: told.to } : told;

      const touched = known.filter((fact) => overlap(fact, interval));
      const refined = touched.length === 0 ? interval : complete(interval, touched);
      const replaced = others.filter((fact) => overlap(fact, refined));
      const [only, ...more] = touched;
      if (only !== undefined && more.length === 0 && isSame(only, refined) && replaced.length === 0) {
        return { change: "confirmed", ended: 0, isNews: confirm(only, statement, writer) };
      }

      const key = write(
        statement,
        {
          ...refined,
          object: objectKey,
          value,
          confidence: Math.max(statement.confidence, ...touched.map(({ confidence }) => confidence)),
          text: statement.text ?? only?.text ?? toSaying(relation.name, value),
        },
        touched,
        writer,
        true,
      );
      end([...touched, ...replaced], key, writer.now);
      for (const fact of replaced) {
        for (const rest of without(fact, refined)) write(statement, { ...fact, ...rest }, [fact], writer, false);
      }
      return { change: only === undefined ? "added" : "refined", ended: replaced.length, isNews: true };
    },
  };
}

/**
 * What full-text search finds of a fact where nobody gave a sentence: what is said, not of whom. The names of its ends are found as
 * names, and a fact that held them would make every neighbour of an entity match it.
 */
export function toSaying(relation: string, value: string | null): string {
  return [relation.replaceAll("_", " "), ...(value === null ? [] : [value])].join(" ");
}

function toBelieved([key, object, value, from, to, confidence, sentence]: Row): Believed {
  return {
    key: integer(key),
    object: object === null ? null : integer(object),
    value: value === null ? null : text(value),
    from: from === null ? null : integer(from),
    to: to === null ? null : integer(to),
    confidence: integer(confidence),
    text: text(sentence),
  };
}

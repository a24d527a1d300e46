import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint } from "../core/taint.ts";
import type { Row } from "../store/sql.ts";
import { integer, text, toQuery } from "../store/sql.ts";
import type { Change } from "./changes.ts";
import { readLabels, writeLabels } from "./labels.ts";
import type { EntityInput } from "./model.ts";
import { toLabel, toName, toNorm } from "./names.ts";

/** An entity as writing sees it. */
export interface Entity {
  /** Its row. */
  readonly key: number;
  /** Its public id. */
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly summary: string | null;
  /** Of whoever named, described or typed it. */
  readonly taint: Taint;
}

/** Who writes, and when. */
export interface Writer {
  readonly now: number;
  readonly source: number;
  readonly taint: Taint;
}

/** The type of an entity whose type nobody told. The first one told replaces it. */
const untyped = "thing";
const maxAliases = 100;
const idPattern = /^e_[0-9a-f]{16}$/;
const columns = "e.id, e.uid, e.name, t.name, e.summary, e.attrs";

/** Entities by name: the exact normal form, first of names, then of aliases, decides before anything else does. */
export function openEntities(db: DatabaseSync, log: (at: number, change: Change) => void) {
  const byKey = toQuery(db, `select ${columns} from entity e join entity_type t on t.id = e.type where e.id = ?`);
  const byId = toQuery(db, "select id, merged_into from entity where uid = ?");
  const mergedInto = toQuery(db, "select id, merged_into from entity where id = ?");
  const byNorm = toQuery(
    db,
    `select ${columns} from entity e indexed by entity_norm join entity_type t on t.id = e.type
     where e.norm = ? and e.merged_into is null order by e.id limit 20`,
  );
  const byAlias = toQuery(
    db,
    `select ${columns} from alias a join entity e on e.id = a.entity join entity_type t on t.id = e.type
     where a.norm = ? and e.merged_into is null order by e.id limit 20`,
  );
  const insertType = toQuery(db, "insert into entity_type (name) values (?) on conflict do nothing");
  const typeKey = toQuery(db, "select id from entity_type where name = ?");
  const insert = toQuery(
    db,
    `insert into entity (uid, name, norm, type, attrs, created_at, updated_at) values (?, ?, ?, ?, ?, ?, ?) returning id`,
  );
  const update = toQuery(db, "update entity set type = ?, summary = ?, attrs = ?, updated_at = ? where id = ?");
  const touch = toQuery(db, "update entity set updated_at = ? where id = ?");
  const aliases = toQuery(db, "select norm, text from alias indexed by alias_entity where entity = ? order by norm");
  const insertAlias = toQuery(
    db,
    "insert into alias (norm, entity, text, source) values (?, ?, ?, ?) on conflict do nothing returning entity",
  );
  const forgetWords = toQuery(db, "delete from entity_fts where rowid = ?");
  const indexWords = toQuery(db, "insert into entity_fts (rowid, name, aliases, summary) values (?, ?, ?, ?)");
  const forgetTrigrams = toQuery(db, "delete from entity_tri where rowid = ?");
  const indexTrigrams = toQuery(db, "insert into entity_tri (rowid, name) values (?, ?)");

  const toTypeKey = (type: string): number => {
    insertType.run(type);
    return integer(typeKey.get(type)?.[0]);
  };

  const load = (key: number): Entity => toEntity(byKey.get(key) ?? []);

  /** The indexes are contentless, and know a row only as a whole: it leaves and comes back with every column. */
  const index = ({ key, name, summary }: Entity): void => {
    const known = aliases.all(key);
    forgetWords.run(key);
    indexWords.run(key, name, known.map((row) => text(row[1])).join("\n"), summary ?? "");
    forgetTrigrams.run(key);
    indexTrigrams.run(key, [toNorm(name), ...known.map((row) => text(row[0]))].join("\n"));
  };

  const create = (name: string, type: string, writer: Writer): Entity => {
    const id = `e_${randomBytes(8).toString("hex")}`;
    const attrs = writeLabels(writer.taint);
    const row = insert.get(id, name, toNorm(name), toTypeKey(type), attrs, writer.now, writer.now);
    const entity = { key: integer(row?.[0]), id, name, type, summary: null, taint: writer.taint };
    log(writer.now, { op: "insert", kind: "entity", id: entity.key, after: { id, name, type } });
    return entity;
  };

  const byPublicId = (id: string): Entity => {
    let row = byId.get(id);
    // A merge points at what it was merged into, which may have been merged too, but never in a circle.
    while (row !== undefined && row[1] !== null) row = mergedInto.get(integer(row[1]));
    if (row !== undefined) return load(integer(row[0]));
    throw new CapstanError(
      "knowledge.not_found",
      `There is no entity ${id} in this graph. Name it instead, or find its id with kg_search.`,
    );
  };

  /** The entity of a name, or undefined when it would be a new one. Throws `knowledge.bad_fact` when several could be meant. */
  const find = (name: string, type: string | undefined): Entity | undefined => {
    const norm = toNorm(name);
    for (const query of [byNorm, byAlias]) {
      const all = query.all(norm).map(toEntity);
      const fitting = all.filter((entity) => type === undefined || entity.type === type || entity.type === untyped);
      if (fitting.length > 1) throw ambiguous(name, fitting);
      if (fitting.length === 1) return fitting[0];
      // Another entity has this name and another type: this one is new, whatever an alias may say.
      if (all.length > 0) return undefined;
    }
    return undefined;
  };

  const addAliases = (entity: Entity, names: readonly string[], writer: Writer): boolean => {
    let room = maxAliases - aliases.all(entity.key).length;
    let grown = false;
    for (const given of names) {
      const alias = toName(given, "an alias");
      const norm = toNorm(alias);
      if (norm === toNorm(entity.name)) continue;
      if (insertAlias.get(norm, entity.key, alias, writer.source) === undefined) continue;
      room -= 1;
      if (room < 0) throw tooManyAliases(entity);
      log(writer.now, { op: "insert", kind: "alias", id: entity.key, after: { alias } });
      grown = true;
    }
    return grown;
  };

  return {
    /** Finds or makes the entity that a fact names. */
    resolve(name: string, writer: Writer): { readonly entity: Entity; readonly created: boolean } {
      if (idPattern.test(name)) return { entity: byPublicId(name), created: false };
      const found = find(name, undefined);
      if (found !== undefined) return { entity: found, created: false };
      const entity = create(toName(name, "an entity"), untyped, writer);
      index(entity);
      return { entity, created: true };
    },

    /** Finds or makes an entity and adds what is told of it. What is known of it already stays. */
    describe(input: EntityInput, writer: Writer): { readonly entity: Entity; readonly created: boolean } {
      const type = input.type === undefined ? undefined : toLabel(input.type, "a type");
      const found = idPattern.test(input.name) ? byPublicId(input.name) : find(input.name, type);
      const old = found ?? create(toName(input.name, "an entity"), type ?? untyped, writer);
      if (input.summary !== undefined && old.summary !== null && old.summary !== input.summary) {
        throw new CapstanError(
          "knowledge.bad_fact",
          `${old.name} (${old.id}) has another summary, which is not overwritten. Add a fact with the relation "description" instead.`,
        );
      }
      const next = {
        ...old,
        type: old.type === untyped ? (type ?? untyped) : old.type,
        summary: old.summary ?? input.summary ?? null,
      };
      const changed = next.type !== old.type || next.summary !== old.summary;
      const entity = changed ? { ...next, taint: mergeTaint(old.taint, writer.taint) } : old;
      if (changed) {
        update.run(toTypeKey(entity.type), entity.summary, writeLabels(entity.taint), writer.now, entity.key);
        const before = { type: old.type, summary: old.summary };
        const after = { type: entity.type, summary: entity.summary };
        log(writer.now, { op: "update", kind: "entity", id: entity.key, before, after });
      }
      const grown = addAliases(entity, input.aliases ?? [], writer);
      if (grown) touch.run(writer.now, entity.key);
      const created = found === undefined;
      if (created || grown || changed) index(entity);
      return { entity, created };
    },

    /** Marks an entity as one about which something new is known. */
    touch({ key }: Entity, now: number): void {
      touch.run(now, key);
    },
  };
}

function toEntity([key, id, name, type, summary, attrs]: Row): Entity {
  return {
    key: integer(key),
    id: text(id),
    name: text(name),
    type: text(type),
    summary: summary === null ? null : text(summary),
    taint: readLabels(attrs),
  };
}

function ambiguous(name: string, entities: readonly Entity[]): CapstanError {
  const meant = entities.map(({ id, name: full, type }) => `${id} (${full}, ${type})`).join(", ");
  return new CapstanError(
    "knowledge.bad_fact",
    `"${name}" may mean ${entities.length} entities: ${meant}. Give the id of the one you mean.`,
  );
}

function tooManyAliases({ name, id }: Entity): CapstanError {
  return new CapstanError("knowledge.bad_fact", `${name} (${id}) has ${maxAliases} aliases, which is the most.`);
}

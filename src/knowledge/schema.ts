import { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { openDatabase } from "../store/schema.ts";
import { text, toQuery } from "../store/sql.ts";

/**
 * Each step brings a graph's file from version n (its index) to n + 1. A released step is never edited: another one is added.
 * Facts have two times: `valid` is when something was true in the world, `tx` when we believed it; both in ms, from inclusive, to
 * exclusive, null for unknown or open. A fact is never overwritten: what replaces it closes it and stands beside it.
 */
const steps: readonly string[] = [
  `
  create table entity_type (id integer primary key, name text not null unique);
  create table source (
    id integer primary key, kind text not null, uri text, title text, hash blob, observed_at int,
    recorded_at int not null, actor text, session text, span text, meta text
  );
  create unique index source_hash on source (hash) where hash is not null;

  create table entity (
    id integer primary key, uid text not null unique, name text not null, norm text not null,
    type int not null references entity_type (id), summary text, attrs text, created_at int not null, updated_at int not null,
    merged_into int references entity (id), importance real default 0.5, last_access int, access_count int default 0
  );
  create index entity_norm on entity (norm) where merged_into is null;
  create table alias (
    norm text not null, entity int not null references entity (id), text text not null, source int,
    primary key (norm, entity)
  ) without rowid;
  create index alias_entity on alias (entity);

  -- functional = 1: an entity has one value at a time, so a new value closes the old
  create table rel (id integer primary key, name text not null unique, inverse text, functional int not null default 0);

  create table fact (
    id integer primary key, s int not null, p int not null, o int, value text, valid_from int, valid_to int,
    tx_from int not null, tx_to int, conf real not null default 1, source int references source (id), text text,
    superseded_by int,
    check ((o is null) <> (value is null)),
    check (valid_to is null or valid_from is null or valid_to > valid_from),
    check (tx_to is null or tx_to >= tx_from)
  );
  -- the trailing tx_to makes the plans of both covering
  create index fact_spo on fact (s, p, o, tx_to) where tx_to is null;
  create index fact_ops on fact (o, p, s, tx_to) where tx_to is null and o is not null;
  create index fact_hist on fact (s, p, tx_from);
  -- what pointed at an entity once; fact_ops has only what does now
  create index fact_ops_hist on fact (o, p, tx_from) where tx_to is not null and o is not null;
  create index fact_src on fact (source);
  create table fact_source (fact int, source int, primary key (fact, source)) without rowid;

  -- contentless: they give row ids, the text is in entity
  create virtual table entity_fts using fts5 (name, aliases, summary, content='', contentless_delete=1,
    tokenize="porter unicode61 remove_diacritics 2", prefix='2 3');
  create virtual table entity_tri using fts5 (name, content='', contentless_delete=1, tokenize='trigram');
  create virtual table fact_fts using fts5 (text, content='fact', content_rowid='id',
    tokenize="porter unicode61 remove_diacritics 2");

  create table embedding (kind int, id int, model int, dim int, v blob, primary key (model, kind, id)) without rowid;
  -- one row per row that a write touched: the audit of the graph, and what an undo needs
  create table change (seq integer primary key, at int, op text, kind text, id int, before text, after text);
  `,
];

const cacheKib = 65_536;

/**
 * Opens a graph's file, or makes it, and brings its schema up to date. Throws `knowledge.unavailable` where SQLite lacks full-text
 * search, and `store.*` as every file of ours does. The caller closes it.
 */
export async function openGraphFile(path: string): Promise<DatabaseSync> {
  demandFullText(compileOptions());
  const db = await openDatabase(path, steps);
  db.exec(`
    pragma cache_size = -${cacheKib};
    create virtual table temp.trigram_counts using fts5vocab ('main', 'entity_tri', 'row');
  `);
  return db;
}

/** Throws `knowledge.unavailable` when these options of SQLite's build do not include FTS5. */
export function demandFullText(options: readonly string[]): void {
  if (options.includes("ENABLE_FTS5")) return;
  throw new CapstanError(
    "knowledge.unavailable",
    "The knowledge graph needs SQLite with FTS5, and this Node was built with an SQLite that lacks it. Use Node from nodejs.org, version 24 or newer.",
  );
}

function compileOptions(): readonly string[] {
  using db = new DatabaseSync(":memory:");
  return toQuery(db, "pragma compile_options")
    .all()
    .map(([option]) => text(option));
}

import { open } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import { chainEvents } from "./chain-events.ts";
import { integer, text, toQuery } from "./sql.ts";
import { toStoreError } from "./sqlite-error.ts";
import { untilFree } from "./until-free.ts";

/** What changes a file: SQL, or what SQL can't say. It runs inside the transaction that brings the file up to date. */
type Step = string | ((db: DatabaseSync) => void);

/**
 * Each step brings a file from version n (its index) to n + 1. A released step is never edited: another one is added. Rows that
 * belong together share a page (`without rowid`), except where they are large or only ever appended.
 */
const storeSteps: readonly Step[] = [
  `
  create table events (
    scope text not null, run text not null, seq integer not null, at integer not null, body text not null,
    primary key (scope, run, seq)
  ) strict, without rowid;
  create index runs_by_age on events (scope, at) where seq = 1;

  create table inbox (
    id integer primary key autoincrement, scope text not null, run text not null, input text not null
  ) strict;
  create index inbox_by_run on inbox (scope, run, id);

  create table records (
    scope text not null, kind text not null, key text not null, value text not null,
    version integer not null, updated_at integer not null,
    primary key (scope, kind, key)
  ) strict, without rowid;

  create table blobs (hash text primary key, bytes blob not null) strict;

  create table accounts (
    grant_id text primary key, calls integer not null, tokens integer not null, cost_micro_usd integer not null,
    cpu_ms integer not null, wall_ms integer not null, bytes integer not null
  ) strict, without rowid;
  create table calls (
    call_id text primary key, at integer not null, grants text not null, reserved text not null, outcome text
  ) strict, without rowid;

  create table audit_writers (number integer primary key, writer text not null unique) strict;
  create table audit (
    -- The writer's number * 2^32 + seq: a chain stands together, in order, and a new row goes to the end of its table.
    id integer primary key, entry text not null, hash text not null
  ) strict;
  `,
  // Bytes that belong to records go with the last of them; the others (kept = 1) stay.
  `
  alter table blobs add column kept integer not null default 1;
  alter table records add column blob text;
  create index records_by_blob on records (blob) where blob is not null;
  create trigger record_deleted after delete on records when old.blob is not null begin
    delete from blobs where hash = old.blob and kept = 0 and not exists (select 1 from records where blob = old.blob);
  end;
  create trigger record_changed after update on records when old.blob is not null and old.blob is not new.blob begin
    delete from blobs where hash = old.blob and kept = 0 and not exists (select 1 from records where blob = old.blob);
  end;
  `,
  // `large`: which texts of the body are blobs. Events that were there before are chained as they are found.
  (db) => {
    db.exec("alter table events add column large text; alter table events add column hash blob");
    chainEvents(db);
  },
];

/** How long one attempt may block the event loop while another process writes; `untilFree` goes on from there without blocking. */
const blockingWaitMs = 100;
/** A burst may grow the write-ahead log; after the next checkpoint it shrinks to this. */
const keptLogBytes = 64 * 1024 * 1024;

/**
 * Opens the file, or makes it with mode 0600, and brings its schema up to date by the steps that it lacks (missing: those of the
 * store; a room with a file of its own gives its own). Throws `store.unavailable`, `store.corrupt`,
 * `store.full`, or `store.newer` for a file that a newer Capstan has written. The caller closes it.
 */
export async function openDatabase(path: string, steps: readonly Step[] = storeSteps): Promise<DatabaseSync> {
  await makePrivate(path);
  let db: DatabaseSync | undefined;
  try {
    const opened = new DatabaseSync(path, { timeout: blockingWaitMs });
    db = opened;
    await untilFree(() => prepareFile(opened, path, steps));
    return opened;
  } catch (thrown) {
    if (db?.isOpen === true) db.close();
    throw toStoreError(thrown, path);
  }
}

/** SQLite gives its side files the mode of the database, so this one is enough. */
async function makePrivate(path: string): Promise<void> {
  try {
    await using file = await open(path, "a", 0o600);
    if (((await file.stat()).mode & 0o077) !== 0) await file.chmod(0o600);
  } catch (cause) {
    throw new CapstanError(
      "store.unavailable",
      `${path} can't be opened for writing (${cause instanceof Error ? cause.message : String(cause)}). Its folder must exist and be yours.`,
      { cause, details: { path } },
    );
  }
}

function prepareFile(db: DatabaseSync, path: string, steps: readonly Step[]): void {
  const version = versionOf(db);
  if (version > steps.length) throw newer(path, version, steps.length);
  const mode = text(toQuery(db, "pragma journal_mode = wal").get()?.[0]);
  if (mode !== "wal") {
    throw new CapstanError(
      "store.unavailable",
      `${path} must use a write-ahead log, but its file system allows only "${mode}". Put it on a local disk.`,
    );
  }
  db.exec(`pragma synchronous = normal; pragma journal_size_limit = ${keptLogBytes}; pragma trusted_schema = off`);
  if (version === steps.length) return;
  db.exec("begin immediate");
  try {
    // Read again inside the transaction: another process may have migrated in between.
    for (const step of steps.slice(versionOf(db))) {
      if (typeof step === "string") db.exec(step);
      else step(db);
    }
    db.exec(`pragma user_version = ${steps.length}; commit`);
  } finally {
    if (db.isTransaction) db.exec("rollback");
  }
}

const versionOf = (db: DatabaseSync): number => integer(toQuery(db, "pragma user_version").get()?.[0]);

function newer(path: string, version: number, known: number): CapstanError {
  return new CapstanError(
    "store.newer",
    `${path} has schema version ${version}, and this Capstan knows versions up to ${known}. Update Capstan, or choose another home with --home.`,
    { details: { path, version, known } },
  );
}

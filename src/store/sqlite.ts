import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import { sha256 } from "../core/json.ts";
import { openAudit } from "./audit.ts";
import { openBlobs } from "./blobs.ts";
import { openEvents } from "./events.ts";
import { noWrites, openGroupCommit } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { openInbox } from "./inbox.ts";
import { openLedger } from "./ledger.ts";
import { openRecords } from "./records.ts";
import { openDatabase } from "./schema.ts";
import { integer, toQuery } from "./sql.ts";
import { isSyncFailure, toStoreError } from "./sqlite-error.ts";
import type { Batch, Store } from "./store.ts";

/**
 * The store in one SQLite file (mode 0600, write-ahead log), which several processes of one machine may share. Throws
 * `store.unavailable`, `store.corrupt`, `store.full` or `store.newer`.
 *
 * What an end without warning may lose: of commits that were acknowledged, a killed process loses none, whichever durability they
 * asked for. A power cut or a crash of the system loses none up to the last `power` commit, and may lose the newest `process` commits
 * after it (those since the last checkpoint, a thousand pages at most); what remains is always a whole prefix of the commits, so no
 * batch is ever half there. Commits that were not yet acknowledged may be there or not.
 */
export async function openSqliteStore({ path, clock }: { path: string; clock: Clock }): Promise<Store> {
  const db = await openDatabase(path);
  try {
    return toStore(db, path, clock);
  } catch (thrown) {
    db.close();
    throw toStoreError(thrown, path);
  }
}

function toStore(db: DatabaseSync, path: string, clock: Clock): Store {
  const blobs = openBlobs(db);
  const events = openEvents(db, blobs);
  const inbox = openInbox(db);
  const records = openRecords(db);
  const ledger = openLedger(db);
  const audit = openAudit(db, newId("writer"));

  const begin = toQuery(db, "begin immediate");
  const end = toQuery(db, "commit");
  /** Changes with each commit of another connection, and with none of this one. */
  const dataVersion = toQuery(db, "pragma data_version");
  /** That of the last transaction, after which what is kept in memory is what the file says; null: it may not be. */
  let keptAt: number | null = null;
  let fsyncs = false;
  let broken = false;

  const commits = openGroupCommit({
    begin(power) {
      if (broken) throw syncFailed(path);
      if (power !== fsyncs) {
        // SQLite does not change this inside a transaction.
        db.exec(`pragma synchronous = ${power ? "full" : "normal"}`);
        fsyncs = power;
      }
      begin.run();
      const version = integer(dataVersion.get()?.[0]);
      if (version !== keptAt) {
        events.forget();
        ledger.forget();
        keptAt = version;
      }
      events.begin();
      ledger.begin();
      audit.begin();
    },
    commit() {
      ledger.finish();
      end.run();
      events.committed();
      audit.committed();
    },
    rollback() {
      keptAt = null;
      if (db.isTransaction) db.exec("rollback");
    },
    translate(thrown) {
      broken ||= isSyncFailure(thrown);
      return broken ? syncFailed(path, thrown) : toStoreError(thrown, path);
    },
  });

  const plan = (batch: Batch): Writes => {
    const at = batch.at ?? clock();
    const { head, write: writeEvents } = events.plan(batch, at);
    const sealed = batch.seal === undefined ? [] : [batch.seal(head)];
    const writes = [
      writeEvents,
      batch.newRuns === undefined ? noWrites : events.planNew(batch.scope, batch.newRuns, at),
      inbox.plan(batch),
      records.plan(batch, at, sealed),
      ledger.plan(batch),
      audit.plan(batch),
    ];
    return () => {
      for (const write of writes) write();
    };
  };

  const read = async <T>(query: () => T): Promise<T> => {
    try {
      return query();
    } catch (thrown) {
      throw toStoreError(thrown, path);
    }
  };
  async function* readAll<T>(rows: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* rows;
    } catch (thrown) {
      throw toStoreError(thrown, path);
    }
  }

  return {
    commit: (batch) => commits.add({ power: batch.durability === "power", plan: () => plan(batch) }),
    events: (scope, runId, fromSeq = 1) => readAll(events.read(scope, runId, fromSeq)),
    eventRows: (scope, runId, fromSeq = 1) => readAll(events.rows(scope, runId, fromSeq)),
    runs: (scope, limit, before) => read(() => events.runs(scope, limit, before)),
    inbox: (scope, runId) => read(() => inbox.read(scope, runId)),
    record: (scope, kind, key) => read(() => records.get(scope, kind, key)),
    records: (scope, kind, options) => read(() => records.list(scope, kind, options)),
    used: (grantIds) => read(() => ledger.used(grantIds)),
    async putBlob(bytes) {
      const hash = sha256(bytes);
      await commits.add({ power: false, plan: () => blobs.plan(hash, bytes) });
      return hash;
    },
    blob: (hash) => read(() => blobs.get(hash)),
    audit: () => readAll(audit.rows()),
    auditHead: () => audit.head(),
    async [Symbol.asyncDispose]() {
      await commits.close();
      if (db.isOpen) db.close();
    },
  };
}

/** After a failed fsync nothing more is acknowledged: the disk may have lost what earlier commits rely on. */
function syncFailed(path: string, cause?: unknown): CapstanError {
  return new CapstanError(
    "store.unavailable",
    `The disk failed to keep what was written to ${path}. Check the disk, then start Capstan again; this process writes no more.`,
    { cause, details: { path } },
  );
}

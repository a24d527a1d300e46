import { DatabaseSync } from "node:sqlite";

/** What one call leaves in our own store, about: a row of 0.6 kB with its hash. */
const entry = "x".repeat(500);
const hash = "0".repeat(64);

/**
 * The least that a durable charge with an audit row can cost in `node:sqlite`: no rules, no chain, no settling, nobody told. It writes
 * ahead as our own store does, without waiting for the disk.
 */
export function openBareLedger(path: string): Disposable & {
  /** Writes for so many calls, so many of them in a transaction. */
  write(calls: number, perTransaction: number): void;
  /** From now on each commit waits until the disk has it. */
  syncEachCommit(): void;
} {
  const db = new DatabaseSync(path);
  db.exec("pragma journal_mode = wal; pragma synchronous = normal");
  db.exec("create table accounts (id text primary key, calls integer not null) strict, without rowid");
  db.exec("create table audit (id integer primary key, entry text not null, hash text not null) strict");
  db.exec("insert into accounts values ('grant', 0)");
  const begin = db.prepare("begin immediate");
  const charge = db.prepare("update accounts set calls = calls + 1 where id = 'grant'");
  const record = db.prepare("insert into audit (entry, hash) values (?, ?)");
  const commit = db.prepare("commit");
  return {
    write(calls, perTransaction) {
      for (let written = 0; written < calls; written += perTransaction) {
        begin.run();
        for (let call = written; call < Math.min(calls, written + perTransaction); call += 1) {
          charge.run();
          record.run(entry, hash);
        }
        commit.run();
      }
    },
    syncEachCommit: () => db.exec("pragma synchronous = full"),
    [Symbol.dispose]: () => db.close(),
  };
}

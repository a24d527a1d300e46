import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { CapstanError } from "../../core/error.ts";
import { openDatabase } from "../../store/schema.ts";
import { text, toQuery } from "../../store/sql.ts";
import type { Cache } from "./config.ts";

const schema = `
  create table answers (
    key text primary key, value text not null, bytes integer not null, used integer not null
  ) strict, without rowid;
  create index answers_by_use on answers (used);
`;

/** Texts by key, of which the ones used longest ago go when there are too many or they are too large together. */
export interface CacheStore extends AsyncDisposable {
  /** null: there is none, or its time is over. Throws `store.*`. */
  get(key: string): Promise<string | null>;
  /** Throws `store.*`. */
  set(key: string, value: string): Promise<void>;
}

/** Opens the store of the config in a home, whose other processes share it. Throws `store.*`. */
export async function openCacheStore(home: string, config: Cache): Promise<CacheStore> {
  const { Keyv } = await import("keyv");
  const bytes = config.megabytes * 1024 * 1024;
  const files = config.store === "sqlite" ? await openSqlite(join(home, "cache"), config.entries, bytes) : undefined;
  const store = files ?? openMemory(config.entries, bytes);
  const keyv = new Keyv<string>({ store, ttl: config.ttlMs });
  // Keyv tells what its store throws here, and goes on as if there were nothing.
  let fault: unknown;
  keyv.on("error", (error: unknown) => (fault = error));
  const demandFine = (): void => {
    const thrown = fault;
    fault = undefined;
    if (thrown !== undefined) throw unusable(thrown);
  };
  return {
    async get(key) {
      const value = await keyv.get<string>(key);
      demandFine();
      return typeof value === "string" ? value : null;
    },
    async set(key, value) {
      await keyv.set(key, value);
      demandFine();
    },
    async [Symbol.asyncDispose]() {
      files?.close();
    },
  };
}

/** A store of Keyv in this process. Without its own `set` it would hand over times where lru-cache takes options. */
function openMemory(entries: number, bytes: number) {
  const cache = new LRUCache<string, string>({
    max: entries,
    maxSize: bytes,
    sizeCalculation: (value) => Buffer.byteLength(value),
  });
  return {
    get: async (key: string) => cache.get(key),
    set: async (key: string, value: string) => void cache.set(key, value),
    delete: async (key: string) => cache.delete(key),
    has: async (key: string) => cache.has(key),
    clear: async () => cache.clear(),
  };
}

/** A store of Keyv over a file of its own. */
async function openSqlite(folder: string, entries: number, bytes: number) {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const db = await openDatabase(join(folder, "answers.db"), [schema]);
  const read = toQuery(db, "select value from answers where key = ?");
  const next = "(select coalesce(max(used), 0) + 1 from answers)";
  const touch = toQuery(db, `update answers set used = ${next} where key = ?`);
  const write = toQuery(db, `insert or replace into answers values (?, ?, ?, ${next})`);
  const shrink = toQuery(
    db,
    `delete from answers where key in (
      select key from (
        select key, row_number() over newest as place, sum(bytes) over newest as total
        from answers window newest as (order by used desc)
      ) where place > ? or total > ?
    )`,
  );
  const remove = toQuery(db, "delete from answers where key = ?");
  return {
    async get(key: string) {
      const row = read.get(key);
      if (row === undefined) return undefined;
      touch.run(key);
      return text(row[0]);
    },
    async set(key: string, value: string) {
      write.run(key, value, Buffer.byteLength(value));
      shrink.run(entries, bytes);
    },
    async delete(key: string) {
      remove.run(key);
      return true;
    },
    async has(key: string) {
      return read.get(key) !== undefined;
    },
    async clear() {
      db.exec("delete from answers");
    },
    close: () => db.close(),
  };
}

function unusable(cause: unknown): CapstanError {
  const why = cause instanceof Error ? cause.message : "unknown";
  return new CapstanError(
    "store.unavailable",
    `The cache of answers can't be used (${why}). Nothing else depends on it.`,
    {
      cause,
    },
  );
}

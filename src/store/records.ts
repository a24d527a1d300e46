import type { DatabaseSync } from "node:sqlite";
import { CapstanError } from "../core/error.ts";
import type { Json } from "../core/json.ts";
import { sha256 } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { integer, scopeKey, text, toQuery } from "./sql.ts";
import type { Row } from "./sql.ts";
import type { Batch, RecordWrite, Store, StoredRecord } from "./store.ts";

/** Small values with versions. */
export function openRecords(db: DatabaseSync) {
  const one = toQuery(
    db,
    "select key, value, version, updated_at, blob from records where scope = ? and kind = ? and key = ?",
  );
  const following = toQuery(
    db,
    `select key, value, version, updated_at, blob from records
     where scope = ? and kind = ? and key >= ? and key > ? order by key limit ?`,
  );
  const firstOf = toQuery(
    db,
    `select key, value, version, updated_at, blob from records where scope = ? and kind = ? and key >= ? order by key limit ?`,
  );
  const put = toQuery(
    db,
    `insert into records (scope, kind, key, value, version, updated_at, blob) values (?, ?, ?, ?, ?, ?, ?)
     on conflict do update set value = excluded.value, version = excluded.version, updated_at = excluded.updated_at,
       blob = excluded.blob`,
  );
  const putBytes = toQuery(db, "insert into blobs (hash, bytes, kept) values (?, ?, 0) on conflict do nothing");
  const remove = toQuery(db, "delete from records where scope = ? and kind = ? and key = ?");

  return {
    /** Refuses with `store.conflict` where `ifVersion` is not the version there is. */
    plan({ scope, records: given = [] }: Batch, at: number, more: readonly RecordWrite[] = []): Writes {
      if (given.length === 0 && more.length === 0) return noWrites;
      const records = [...given, ...more];
      const place = scopeKey(scope);
      /** What earlier writes of this batch will have made of a record. */
      const planned = new Map<string, number>();
      const writes = records.map((write) => {
        const id = JSON.stringify([write.kind, write.key]);
        const version = planned.get(id) ?? integer(one.get(place, write.kind, write.key)?.[2] ?? 0);
        if (write.ifVersion !== undefined && write.ifVersion !== version) throw conflict(write, version);
        const next = write.value === undefined ? 0 : version + 1;
        planned.set(id, next);
        const blob = write.bytes === undefined || next === 0 ? null : sha256(write.bytes);
        return { ...write, next, json: JSON.stringify(write.value), blob };
      });
      return () => {
        for (const { kind, key, next, json, blob, bytes = null } of writes) {
          if (next === 0) remove.run(place, kind, key);
          else {
            if (blob !== null) putBytes.run(blob, bytes);
            put.run(place, kind, key, json, next, at, blob);
          }
        }
      };
    },

    get(scope: Scope, kind: string, key: string): StoredRecord | null {
      const row = one.get(scopeKey(scope), kind, key);
      return row === undefined ? null : toRecord(row);
    },

    list(scope: Scope, kind: string, options: Parameters<Store["records"]>[2] = {}): readonly StoredRecord[] {
      const { prefix = "", after, limit = -1 } = options;
      const place = scopeKey(scope);
      const rows =
        after === undefined
          ? firstOf.iterate(place, kind, prefix, limit)
          : following.iterate(place, kind, prefix, after, limit);
      const found: StoredRecord[] = [];
      for (const row of rows) {
        // Keys with the prefix stand together: the first one without it ends them.
        if (!text(row[0]).startsWith(prefix)) break;
        found.push(toRecord(row));
      }
      return found;
    },
  };
}

function toRecord([key, value, version, updatedAt, blob = null]: Row): StoredRecord {
  return {
    key: text(key),
    value: toJson(text(value)),
    version: integer(version),
    updatedAt: integer(updatedAt),
    ...(blob === null ? {} : { blob: text(blob) }),
  };
}

function toJson(value: string): Json {
  try {
    return JSON.parse(value);
  } catch (cause) {
    throw new CapstanError("store.corrupt", "A record in the store is not JSON. Restore the store from a backup.", {
      cause,
    });
  }
}

function conflict({ kind, key, ifVersion }: RecordWrite, version: number): CapstanError {
  const has = version === 0 ? "does not exist" : `has version ${version}`;
  return new CapstanError(
    "store.conflict",
    `The ${kind} ${key} ${has}, and the change was meant for ${ifVersion === 0 ? "a new one" : `version ${ifVersion}`}. Read it again and repeat the change.`,
    { details: { kind, key, version, ifVersion } },
  );
}

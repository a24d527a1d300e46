import type { DatabaseSync } from "node:sqlite";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { bytes, toQuery } from "./sql.ts";

/** Bytes by their SHA-256. Those that belong to records are written with them, and dropped by the triggers of the schema. */
export function openBlobs(db: DatabaseSync) {
  const find = toQuery(db, "select bytes from blobs where hash = ?");
  const isKept = toQuery(db, "select 1 from blobs where hash = ? and kept = 1");
  const keep = toQuery(db, "insert into blobs (hash, bytes, kept) values (?, ?, 1) on conflict do update set kept = 1");

  return {
    /** Keeps bytes for good. Writes nothing where they are kept already. */
    plan(hash: string, content: Uint8Array): Writes {
      if (isKept.get(hash) !== undefined) return noWrites;
      return () => keep.run(hash, content);
    },

    get(hash: string): Uint8Array | null {
      const row = find.get(hash);
      return row === undefined ? null : bytes(row[0]);
    },
  };
}

import type { DatabaseSync } from "node:sqlite";
import { noWrites } from "./group-commit.ts";
import type { Writes } from "./group-commit.ts";
import { bytes, toQuery } from "./sql.ts";

/** Bytes by their SHA-256. */
export function openBlobs(db: DatabaseSync) {
  const find = toQuery(db, "select bytes from blobs where hash = ?");
  const exists = toQuery(db, "select 1 from blobs where hash = ?");
  const insert = toQuery(db, "insert into blobs (hash, bytes) values (?, ?)");

  return {
    /** Writes nothing where the bytes are there already. */
    plan(hash: string, content: Uint8Array): Writes {
      if (exists.get(hash) !== undefined) return noWrites;
      return () => insert.run(hash, content);
    },

    get(hash: string): Uint8Array | null {
      const row = find.get(hash);
      return row === undefined ? null : bytes(row[0]);
    },
  };
}

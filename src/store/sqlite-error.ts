import { CapstanError } from "../core/error.ts";

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const code = { sql: 1, busy: 5, locked: 6, io: 10, corrupt: 11, full: 13, protocol: 15, notADatabase: 26 } as const;
const busy: readonly number[] = [code.busy, code.locked, code.protocol];
/** SQLITE_IOERR_SHMSIZE: no room for the index of the write-ahead log. */
const noRoomForIndex = code.io | (19 << 8);
/** SQLITE_IOERR_FSYNC and SQLITE_IOERR_DIR_FSYNC. */
const syncFailures: readonly number[] = [code.io | (4 << 8), code.io | (5 << 8)];

interface SqliteError extends Error {
  readonly errcode: number;
}

export function isSqliteError(thrown: unknown): thrown is SqliteError {
  return thrown instanceof Error && "errcode" in thrown && typeof thrown.errcode === "number";
}

/** Another connection holds the lock: the same call may succeed in a moment. */
export function isBusy(thrown: unknown): boolean {
  return isSqliteError(thrown) && busy.includes(thrown.errcode & 0xff);
}

/**
 * An fsync failed. The kernel may have dropped the pages that it could not write, so a later fsync that succeeds proves nothing about
 * them: whoever sees this must stop acknowledging until the file has been opened anew.
 */
export function isSyncFailure(thrown: unknown): boolean {
  return isSqliteError(thrown) && syncFailures.includes(thrown.errcode);
}

/** What SQLite or the file system threw, as `store.*`. Other errors come back as they are. */
export function toStoreError(thrown: unknown, path: string): unknown {
  if (thrown instanceof Error && "code" in thrown && thrown.code === "ERR_INVALID_STATE") {
    return new CapstanError("store.unavailable", `The store ${path} is closed. Open it again.`, { cause: thrown });
  }
  if (!isSqliteError(thrown)) return thrown;
  const as = (name: "store.full" | "store.corrupt" | "store.unavailable", sentence: string): CapstanError =>
    new CapstanError(name, sentence, { cause: thrown, details: { path, errcode: thrown.errcode } });
  switch (thrown.errcode === noRoomForIndex ? code.full : thrown.errcode & 0xff) {
    case code.full:
      return as(
        "store.full",
        `The disk that holds ${path} is full; nothing was written. Free some space and try again.`,
      );
    // Statements are fixed: one that SQLite does not understand has met tables that are not ours.
    case code.sql:
    case code.corrupt:
    case code.notADatabase:
      return as("store.corrupt", `${path} is not a readable store (${thrown.message}). Restore it from a backup.`);
    case code.busy:
    case code.locked:
    case code.protocol:
      return as(
        "store.unavailable",
        `${path} is locked by another process that does not let go of it. End that process or try again later.`,
      );
    default:
      return as(
        "store.unavailable",
        `${path} can't be read or written (${thrown.message}). Check the disk and the file's owner.`,
      );
  }
}

import { setTimeout as sleep } from "node:timers/promises";
import { DatabaseSync } from "node:sqlite";
import { isBusy } from "../../../store/sqlite-error.ts";

/** Between two attempts; spread so that several waiting processes don't keep step. */
const pauseMs = { least: 5, spread: 20 } as const;

/**
 * Does `work` while holding `path`, which one holder has at a time, in this process and in others. SQLite's own lock on the file is what
 * holds it, so a process that dies lets go. Rejects with the signal's reason when that ends the wait; work that has begun goes on.
 */
export async function underLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    while (!tryLock(db)) {
      signal.throwIfAborted();
      await sleep(pauseMs.least + Math.random() * pauseMs.spread);
    }
    return await work();
  } finally {
    db.close();
  }
}

function tryLock(db: DatabaseSync): boolean {
  try {
    db.exec("begin exclusive");
    return true;
  } catch (thrown) {
    if (isBusy(thrown)) return false;
    throw thrown;
  }
}

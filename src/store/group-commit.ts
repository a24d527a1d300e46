import { CapstanError } from "../core/error.ts";
import { isSqliteError } from "./sqlite-error.ts";
import { untilFree } from "./until-free.ts";

/** Writes that were found lawful; they can fail only with the whole transaction. */
export type Writes = () => void;

/** What a batch plans that has nothing of a kind. */
export const noWrites: Writes = () => {};

/** One commit. `plan` throws to refuse it and must not write. `power` asks for an fsync. */
export interface Work {
  readonly power: boolean;
  readonly plan: () => Writes;
}

/** The transaction that a group shares, in the order of its calls. `begin` may find the file locked; `rollback` must not throw. */
export interface Transaction {
  begin(power: boolean): void;
  commit(): void;
  rollback(): void;
  /** What a failure of the whole transaction means for its commits. */
  translate(thrown: unknown): unknown;
}

interface Waiting extends Work {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** More commits than this in one transaction would hold up the event loop. */
const groupSize = 256;
/** More waiting commits than this mean that the disk can't follow. */
const maxWaiting = 10_000;

/**
 * Lets all commits that wait at the same time share a transaction. Each is planned in turn, seeing what those before it wrote: a
 * refused one rejects and writes nothing, its neighbours go on. If the transaction itself fails, all of its commits reject.
 */
export function openGroupCommit(transaction: Transaction) {
  const waiting: Waiting[] = [];
  let running: Promise<void> | null = null;
  let closed = false;

  return {
    add(work: Work): Promise<void> {
      if (closed) return Promise.reject(refused("The store is closed, so nothing can be written. Open it again."));
      if (waiting.length >= maxWaiting) {
        return Promise.reject(refused(`${maxWaiting} writes already wait for the disk. Try again in a moment.`));
      }
      return new Promise((resolve, reject) => {
        waiting.push({ ...work, resolve, reject });
        running ??= drain();
      });
    },

    /** Waits for what was added before; later additions are refused. */
    async close(): Promise<void> {
      closed = true;
      await running;
    },
  };

  /** Ends when nobody waits any more. Never rejects: each commit learns its own end. */
  async function drain(): Promise<void> {
    do {
      // The rest of this turn may still add commits, and whoever continues after one gets the next turn.
      await new Promise(setImmediate);
      const group = waiting.splice(0, groupSize);
      try {
        await untilFree(() => {
          transaction.begin(group.some(({ power }) => power));
          write(group);
        });
      } catch (thrown) {
        const reason = transaction.translate(thrown);
        for (const work of group) work.reject(reason);
      }
    } while (waiting.length > 0);
    running = null;
  }

  function write(group: readonly Waiting[]): void {
    const ends: (() => void)[] = [];
    try {
      for (const work of group) ends.push(writeOne(work));
      transaction.commit();
    } catch (thrown) {
      transaction.rollback();
      const reason = transaction.translate(thrown);
      for (const work of group) work.reject(reason);
      return;
    }
    // Only now: a refusal may rest on what a neighbour wrote.
    for (const end of ends) end();
  }
}

/** Returns how to tell its caller the end, once the transaction is durable. Throws what fails the whole transaction. */
function writeOne({ plan, resolve, reject }: Waiting): () => void {
  let writes: Writes;
  try {
    writes = plan();
  } catch (thrown) {
    if (isSqliteError(thrown)) throw thrown;
    return () => reject(thrown);
  }
  writes();
  return resolve;
}

const refused = (sentence: string): CapstanError => new CapstanError("store.unavailable", sentence);

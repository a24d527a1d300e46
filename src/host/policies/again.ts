import { toCapstanError } from "../../core/error.ts";
import type { Batch, Store } from "../../store/store.ts";
import type { CallResult } from "../../tools/call.ts";
import type { Retries } from "./config.ts";

interface Again {
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Gets a sentence for each time that something is tried again. Must not throw. */
  readonly tell: (text: string) => void;
}

/** What passes by, by the code of a result: whose retries count, and what is said of it. */
const passing: ReadonlyMap<string, { readonly of: "tool" | "memory"; readonly what: string }> = new Map([
  ["tool.timeout", { of: "tool", what: "did not end in its time" }],
  ["mcp.timeout", { of: "tool", what: "did not end in its time" }],
  ["store.unavailable", { of: "memory", what: "could not reach what it keeps" }],
]);

interface ToolRetries extends Again {
  readonly name: string;
  readonly retries: Pick<Retries, "tool" | "memory">;
  /** How often the call was made again before. */
  readonly first: number;
  readonly signal: AbortSignal;
}

/**
 * Makes a call that may be repeated again while it fails for a passing reason; its last result is the one that counts. `call` gets how
 * often it was made again, from `first` on.
 */
export async function withToolRetries(
  call: (retry: number) => Promise<CallResult>,
  { name, retries, first, sleep, tell, signal }: ToolRetries,
): Promise<CallResult> {
  for (let retry = first; ; retry += 1) {
    const result = await call(retry);
    const { outcome } = result;
    const reason = outcome.type === "done" && outcome.isError === true ? passing.get(outcome.code ?? "") : undefined;
    if (reason === undefined || retry >= retries[reason.of].retries) return result;
    tell(`${name} ${reason.what}. Calling it again, ${retry + 1} of ${retries[reason.of].retries}.`);
    await sleep(retries[reason.of].delayMs, signal);
  }
}

/** No signal: what has ended is put on record, also of a run that is being stopped. */
const never = new AbortController().signal;
/** The longest wait before a write is tried again. */
const maxWriteDelayMs = 1_000;

/**
 * A store whose commits are tried again while it is locked: each waits twice as long as the one before. Nothing is written twice: what
 * failed was rolled back, and the run's sequence number refuses a second copy. Commits that were begun while an earlier one failed are
 * made again behind that.
 */
export function withWriteRetries(
  store: Store,
  { retries, sleep, tell }: Again & { readonly retries: Retries["store"] },
): Store {
  let last: Promise<unknown> = Promise.resolve();
  /** Commits that succeeded after they had failed. */
  let rescued = 0;

  async function write(batch: Batch, before: Promise<unknown>): Promise<void> {
    for (let retry = 1, hasFailed = false; ;) {
      const seen = rescued;
      try {
        await store.commit(batch);
        if (hasFailed) rescued += 1;
        return;
      } catch (thrown) {
        hasFailed = true;
        const { code } = toCapstanError(thrown);
        const isLocked = code === "store.unavailable";
        if (!isLocked && code !== "store.conflict") throw thrown;
        await before;
        if (rescued > seen) continue;
        if (!isLocked || retry > retries.retries) throw thrown;
        tell(`The store can't be written. Trying again, ${retry} of ${retries.retries}.`);
        await sleep(Math.min(retries.firstMs * 2 ** (retry - 1), maxWriteDelayMs), never);
        retry += 1;
      }
    }
  }

  return {
    ...store,
    commit(batch) {
      const written = write(batch, last);
      last = written.catch(() => {});
      return written;
    },
  };
}

import { setTimeout as sleep } from "node:timers/promises";
import { isBusy } from "./sqlite-error.ts";

/** How long a locked file is waited for before `store.unavailable`. */
const patienceMs = 5_000;
/** Between two attempts; spread so that several waiting processes don't keep step. */
const pauseMs = { least: 2, spread: 8 } as const;

/**
 * Runs `attempt`, again and again while another process holds the file, for five seconds at most. Between attempts the event loop
 * is free. Throws what the last attempt threw.
 */
export async function untilFree<T>(attempt: () => T): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      return attempt();
    } catch (thrown) {
      if (!isBusy(thrown) || performance.now() >= deadline) throw thrown;
    }
    await sleep(pauseMs.least + Math.random() * pauseMs.spread);
  }
}

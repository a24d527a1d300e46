// A thread of its own for safe-path-swap.test.ts: swaps a folder for a link and back, without a pause, until it is told to stop.
import { renameSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { z } from "zod";

const { folder, link, aside, state } = z
  .strictObject({
    folder: z.string(),
    link: z.string(),
    aside: z.string(),
    state: z.instanceof(SharedArrayBuffer),
  })
  .parse(workerData);

/** [0]: 1 tells the thread to stop. [1]: how often it has swapped. */
const cells = new Int32Array(state);
while (Atomics.load(cells, 0) === 0) {
  renameSync(folder, aside);
  renameSync(link, folder);
  renameSync(folder, link);
  renameSync(aside, folder);
  Atomics.add(cells, 1, 1);
}

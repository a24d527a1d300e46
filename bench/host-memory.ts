import { openBenchApp } from "./home.ts";
import { openOurRuns } from "./host-ours.ts";
import { readMemory } from "./memory.ts";

// `node host-memory.ts HOME RUNS`: so many runs at once, all stopped in their third model call. Prints what the heap holds before, during
// and after them, and the resident memory during them, in bytes.
const [home = "", count = "1"] = process.argv.slice(2);
await using app = await openBenchApp(home);
let gate = Promise.withResolvers<void>();
let waiting = 0;
const allWait = Promise.withResolvers<void>();
const ours = openOurRuns(app, async (turn) => {
  if (turn !== 2) return;
  waiting += 1;
  if (waiting === Number(count)) allWait.resolve();
  await gate.promise;
});

// What is compiled and cached once counts for no run.
gate.resolve();
for (let run = 0; run < 20; run += 1) await ours.run(5);
gate = Promise.withResolvers<void>();
waiting = 0;

const before = await readMemory();
const runs = Array.from({ length: Number(count) }, () => ours.run(5));
await allWait.promise;
const during = await readMemory();
gate.resolve();
await Promise.all(runs);
runs.length = 0;
const after = await readMemory();
console.log(JSON.stringify({ before: before.heap, during: during.heap, rss: during.rss, after: after.heap }));

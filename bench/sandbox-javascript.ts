import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measureBeside, wallMs } from "./measure.ts";
import { importQuickjs } from "./peers.ts";
import { execute, runMany, runsPerSecond } from "./sandbox-run.ts";
import type { Snippet } from "./sandbox-run.ts";

const snippet: Snippet = {
  language: "javascript",
  code: "[1, 2, 3].map((n) => n * 2).reduce((a, b) => a + b)",
  result: 12,
};
const runsPerRound = 40;
const sustainedRuns = 400;
const threads = 2;

/** JavaScript in QuickJS. */
export async function* benchJavascript(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const runSandboxed = await openSandboxed();
  const raw = "quickjs-wasi itself, a new interpreter in a thread, no limits";
  const inProcess = "@sebastianwessel/quickjs, in this process";
  const about = { bench: "sandbox", unit: "ms", rounds: 5 };
  {
    await using app = await openBenchApp(folder.path);
    await using bare = openBareThreads(threads);
    const run = (): Promise<void> => execute(app, snippet);
    yield* await measureBeside({
      ...about,
      figure: "JavaScript, worker warm",
      goal: { of: "ours", atMost: 1.5 },
      ours: () => runMany(runsPerRound, run),
      peers: { [raw]: () => runMany(runsPerRound, bare.run), [inProcess]: () => runMany(runsPerRound, runSandboxed) },
    });
    for (const atATime of [2, 8]) {
      yield* await measureBeside({
        ...about,
        figure: `JavaScript, ${atATime} at a time`,
        unit: "runs/s",
        goal: { of: "ours", atLeast: 700 },
        ours: () => runsPerSecond(sustainedRuns, atATime, run),
        peers: {
          [raw]: () => runsPerSecond(sustainedRuns, threads, bare.run),
          [inProcess]: () => runsPerSecond(sustainedRuns / 4, atATime, runSandboxed),
        },
      });
    }
  }
  yield* await measureBeside({
    ...about,
    figure: "JavaScript, first of a process (the worker starts)",
    async ours() {
      await using app = await openBenchApp(folder.path);
      return await wallMs(() => execute(app, snippet));
    },
    peers: {
      async [raw]() {
        await using bare = openBareThreads(1);
        return await wallMs(bare.run);
      },
    },
  });
}

/** Threads with quickjs-wasi, of which each runs one snippet at a time. */
function openBareThreads(count: number): AsyncDisposable & { readonly run: () => Promise<void> } {
  const workers = Array.from({ length: count }, () => new Worker(join(import.meta.dirname, "bare-quickjs.js")));
  const free = [...workers];
  return {
    async run() {
      const worker = free.pop();
      if (worker === undefined) throw new Error(`Only ${count} snippets can run at a time.`);
      worker.postMessage(snippet.code);
      const [value] = await once(worker, "message");
      if (value !== snippet.result) throw new Error(`quickjs-wasi answered something else: ${String(value)}`);
      free.push(worker);
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

async function openSandboxed(): Promise<() => Promise<void>> {
  const { runSandboxed } = await importQuickjs();
  return async () => {
    const answer = await runSandboxed(({ evalCode }) => evalCode(`export default ${snippet.code}`), {});
    if (answer.data !== snippet.result) throw new Error(`The peer answered something else: ${JSON.stringify(answer)}`);
  };
}

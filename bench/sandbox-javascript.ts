import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { SandboxConfig, toExecLimits } from "../src/sandbox/config.ts";
import type { Engine } from "../src/sandbox/engine.ts";
import { openQuickjsEngine } from "../src/sandbox/quickjs.ts";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measureBeside, wallMs } from "./measure.ts";
import { readMemory } from "./memory.ts";
import { importQuickjs } from "./peers.ts";
import { cpuMsPerRun, execute, javascript, runMany, runsPerSecond } from "./sandbox-run.ts";

const runsPerRound = 40;
const sustainedRuns = 400;
const threads = 2;
/** Threads whose memory is measured together. */
const waiting = 8;

/** JavaScript in QuickJS. */
export async function* benchJavascript(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const runSandboxed = await openSandboxed();
  const raw = "quickjs-wasi itself, a new interpreter in a thread, no limits";
  const inProcess = "@sebastianwessel/quickjs, in this process";
  const alone = "our engine alone, without the door";
  const about = { bench: "sandbox", unit: "ms", rounds: 5 };
  {
    await using app = await openBenchApp(folder.path);
    await using bare = openBareThreads(threads);
    await using engine = openQuickjsEngine({ workers: threads });
    const runAlone = (): Promise<void> => runIn(engine);
    const run = (): Promise<void> => execute(app, javascript);
    yield* await measureBeside({
      ...about,
      figure: "JavaScript, worker warm",
      goal: { of: "ours", atMost: 1.5 },
      ours: () => runMany(runsPerRound, run),
      peers: {
        [alone]: () => runMany(runsPerRound, runAlone),
        [raw]: () => runMany(runsPerRound, bare.run),
        [inProcess]: () => runMany(runsPerRound, runSandboxed),
      },
    });
    const together = (atATime: number, toFigure: typeof runsPerSecond) => ({
      ours: () => toFigure(sustainedRuns, atATime, run),
      peers: {
        [alone]: () => toFigure(sustainedRuns, atATime, runAlone),
        [raw]: () => toFigure(sustainedRuns, threads, bare.run),
        [inProcess]: () => toFigure(sustainedRuns / 4, atATime, runSandboxed),
      },
    });
    for (const atATime of [2, 8]) {
      yield* await measureBeside({
        ...about,
        figure: `JavaScript, ${atATime} at a time`,
        unit: "runs/s",
        goal: { of: "ours", atLeast: 700 },
        ...together(atATime, runsPerSecond),
      });
    }
    yield* await measureBeside({
      ...about,
      figure: "JavaScript, 2 at a time: all threads",
      unit: "ms CPU per run",
      ...together(2, cpuMsPerRun),
    });
  }
  yield* await measureBeside({
    ...about,
    figure: "JavaScript, first of a process (the worker starts)",
    async ours() {
      await using app = await openBenchApp(folder.path);
      return await wallMs(() => execute(app, javascript));
    },
    peers: {
      async [raw]() {
        await using bare = openBareThreads(1);
        return await wallMs(bare.run);
      },
    },
  });
  yield* await measureBeside({
    ...about,
    figure: "JavaScript, a worker that waits",
    unit: "MB",
    async ours() {
      await using app = await openBenchApp(folder.path, { workers: waiting });
      return await toMegabytes(() => atOnce(() => execute(app, javascript)));
    },
    peers: {
      async [raw]() {
        await using opened = new AsyncDisposableStack();
        return await toMegabytes(() => atOnce(opened.use(openBareThreads(waiting)).run));
      },
    },
  });
}

async function runIn(engine: Engine): Promise<void> {
  const { signal } = new AbortController();
  await using sandbox = await engine.open({ language: "javascript" }, signal);
  const limits = toExecLimits(SandboxConfig.parse({}));
  const { result } = await sandbox.run({ language: "javascript", code: javascript.code, files: [], limits }, signal);
  if (result !== javascript.result) throw new Error(`The engine answered something else: ${JSON.stringify(result)}`);
}

const atOnce = async (run: () => Promise<void>): Promise<void> =>
  void (await Promise.all(Array.from({ length: waiting }, run)));

/** What each of the threads takes that some work leaves. */
async function toMegabytes(work: () => Promise<void>): Promise<number> {
  const before = await readMemory();
  await work();
  const after = await readMemory();
  return (after.rss - before.rss) / waiting / 1e6;
}

/** Threads with quickjs-wasi, of which each runs one snippet at a time. */
function openBareThreads(count: number): AsyncDisposable & { readonly run: () => Promise<void> } {
  const workers = Array.from({ length: count }, () => new Worker(join(import.meta.dirname, "bare-quickjs.js")));
  const free = [...workers];
  return {
    async run() {
      const worker = free.pop();
      if (worker === undefined) throw new Error(`Only ${count} snippets can run at a time.`);
      worker.postMessage(javascript.code);
      const [value] = await once(worker, "message");
      if (value !== javascript.result) throw new Error(`quickjs-wasi answered something else: ${String(value)}`);
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
    const answer = await runSandboxed(({ evalCode }) => evalCode(`export default ${javascript.code}`), {});
    if (answer.data !== javascript.result)
      throw new Error(`The peer answered something else: ${JSON.stringify(answer)}`);
  };
}

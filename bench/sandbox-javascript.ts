import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, wallMs } from "./measure.ts";
import { importQuickjs } from "./peers.ts";
import { execute, nestedMicros, runMany, runsPerSecond } from "./sandbox-run.ts";
import type { Snippet } from "./sandbox-run.ts";

const snippet: Snippet = {
  language: "javascript",
  code: "[1, 2, 3].map((n) => n * 2).reduce((a, b) => a + b)",
  result: 12,
};
const rounds = 5;
const runsPerRound = 40;
const sustainedRuns = 400;
const calls = 1_000;
const nested: Snippet["code"] = `
  const start = Date.now();
  for (let made = 0; made < ${calls}; made += 1) await tools.echo({ text: "hello" });
  Date.now() - start`;

/** JavaScript in QuickJS. */
export async function* benchJavascript(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const peerName = "quickjs-emscripten, a module of its own for each run, in this process, no limits";
  const about = { bench: "sandbox", unit: "ms", peerName, rounds };
  {
    await using app = await openBenchApp(folder.path, { calls });
    const run = (): Promise<void> => execute(app, snippet);
    yield await measure({
      ...about,
      figure: "JavaScript, worker warm",
      goal: { of: "ours", atMost: 1.5 },
      ours: () => runMany(runsPerRound, run),
      peer: () => runMany(runsPerRound, runQuickjs),
    });
    for (const atATime of [2, 8]) {
      yield await measure({
        ...about,
        figure: `JavaScript, ${atATime} at a time`,
        unit: "runs/s",
        goal: { of: "ours", atLeast: 700 },
        ours: () => runsPerSecond(sustainedRuns, atATime, run),
        peer: () => runsPerSecond(sustainedRuns / 4, atATime, runQuickjs),
      });
    }
    yield await measure({
      ...about,
      figure: "call of a tool from JavaScript, through the door",
      unit: "µs",
      peerName: "a bare message to a thread and its answer",
      goal: { of: "ours", atMost: 120 },
      ours: () => nestedMicros(app, { language: "javascript", code: nested }, calls),
      peer: bareMessageMicros,
    });
  }
  yield await measure({
    ...about,
    figure: "JavaScript, first of a process (the worker starts)",
    async ours() {
      await using app = await openBenchApp(folder.path);
      return await wallMs(() => execute(app, snippet));
    },
    peer: () => wallMs(runQuickjs),
  });
}

async function runQuickjs(): Promise<void> {
  const { newQuickJSWASMModule } = await importQuickjs();
  const module = await newQuickJSWASMModule();
  if (module.evalCode(snippet.code) !== snippet.result) throw new Error("quickjs-emscripten answered something else.");
}

async function bareMessageMicros(): Promise<number> {
  const program = `const { parentPort } = require("node:worker_threads"); parentPort.on("message", (m) => parentPort.postMessage(m));`;
  const worker = new Worker(program, { eval: true });
  const ms = await wallMs(async () => {
    for (let sent = 0; sent < calls; sent += 1) {
      const answered = once(worker, "message");
      worker.postMessage(sent);
      await answered;
    }
  });
  await worker.terminate();
  return (ms * 1_000) / calls;
}

import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { App } from "../src/app.ts";
import { callDoor, openBenchApp, tempFolder, toBenchGrant } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, median, wallMs } from "./measure.ts";
import { importQuickjs } from "./peers.ts";

const javascript = { language: "javascript", code: "[1, 2, 3].map((n) => n * 2).reduce((a, b) => a + b)" };
const python = { language: "python", code: "sum(n * 2 for n in [1, 2, 3])" };
const runsPerRound = 20;

/** A single-use run, from the call at the door to its result, charged and on record. */
export async function* benchSandbox(): AsyncGenerator<Figure> {
  yield* benchJavascript();
  yield* benchPython();
}

async function* benchJavascript(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const about = {
    bench: "sandbox",
    unit: "ms",
    peerName: "quickjs-emscripten, a module of its own for each run, in this process, no limits",
    peer: () => runMany(runsPerRound, runQuickjs),
  };
  {
    await using app = await openBenchApp(folder.path);
    yield await measure({
      ...about,
      figure: "JavaScript, worker warm",
      goal: { of: "ours", atMost: 3 },
      ours: () => runMany(runsPerRound, () => execute(app, javascript)),
    });
  }
  yield await measure({
    ...about,
    figure: "JavaScript, first of a process (the worker starts)",
    async ours() {
      await using app = await openBenchApp(folder.path);
      return await wallMs(() => execute(app, javascript));
    },
    peer: () => wallMs(runQuickjs),
  });
}

async function* benchPython(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const about = {
    bench: "sandbox",
    unit: "ms",
    peerName: "Pyodide as shipped in a new Node process, unconfined",
    peer: () => wallMs(runBarePython),
  };
  yield await measure(
    {
      ...about,
      figure: "Python, first ever (the library is compiled)",
      rounds: 5,
      async ours() {
        await using fresh = await tempFolder();
        await using app = await openBenchApp(fresh.path);
        return await wallMs(() => execute(app, python));
      },
    },
    { warmUp: false },
  );
  const first = await measure({
    ...about,
    figure: "Python, first of a process (the interpreter starts)",
    goal: { of: "ours", atMost: 450 },
    async ours() {
      await using app = await openBenchApp(folder.path);
      return await wallMs(() => execute(app, python));
    },
  });
  yield first;
  await using app = await openBenchApp(folder.path);
  yield await measure({
    ...about,
    figure: "Python, interpreter waiting",
    goal: { of: "ours", atMost: 15 },
    async ours() {
      // The pool starts the next interpreter a moment after a run: by then it is there, and the machine at rest.
      await sleep(4 * first.ours);
      return await wallMs(() => execute(app, python));
    },
  });
}

async function execute(app: App, args: typeof javascript): Promise<void> {
  const grant = toBenchGrant(app, ["execute_code"]);
  const { outcome } = await callDoor(app, grant, "execute_code", args);
  const value = outcome.type === "done" ? JSON.stringify(outcome.value) : "";
  if (!value.includes('"result":12')) throw new Error(`The sandbox answered something else: ${value}`);
}

async function runQuickjs(): Promise<void> {
  const { newQuickJSWASMModule } = await importQuickjs();
  const module = await newQuickJSWASMModule();
  if (module.evalCode(javascript.code) !== 12) throw new Error("quickjs-emscripten answered something else.");
}

async function runBarePython(): Promise<void> {
  const program = join(import.meta.dirname, "bare-python.js");
  const { stdout } = await promisify(execFile)(process.execPath, [program, python.code]);
  if (stdout !== "12") throw new Error(`Pyodide answered something else: ${stdout}`);
}

/** The median time of so many runs, in ms. */
async function runMany(count: number, run: () => Promise<void>): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) times.push(await wallMs(run));
  return median(times);
}

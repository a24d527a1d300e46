import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, wallMs } from "./measure.ts";
import { execute, nestedMicros, runsPerSecond } from "./sandbox-run.ts";
import type { Snippet } from "./sandbox-run.ts";

const snippet: Snippet = { language: "python", code: "sum(n * 2 for n in [1, 2, 3])", result: 12 };
const rounds = 5;
const sustainedRuns = 12;
const calls = 1_000;
const engines: ["pyodide"] = ["pyodide"];
const nested: Snippet["code"] = `
import time
start = time.perf_counter()
for _ in range(${calls}): tools.echo(text="hello")
(time.perf_counter() - start) * 1000`;

/** Python in Pyodide. */
export async function* benchPython(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const about = {
    bench: "sandbox",
    unit: "ms",
    rounds,
    peerName: "Pyodide as shipped in a new Node process, unconfined",
    peer: () => wallMs(runBarePython),
  };
  yield await measure(
    {
      ...about,
      figure: "Python, first ever (the library is compiled)",
      async ours() {
        await using fresh = await tempFolder();
        await using app = await openBenchApp(fresh.path, { engines });
        return await wallMs(() => execute(app, snippet));
      },
    },
    { warmUp: false },
  );
  const first = await measure({
    ...about,
    figure: "Python, first of a process (the interpreter starts)",
    goal: { of: "ours", atMost: 150 },
    async ours() {
      await using app = await openBenchApp(folder.path, { engines });
      return await wallMs(() => execute(app, snippet));
    },
  });
  yield first;
  await using app = await openBenchApp(folder.path, { engines, calls });
  // The pool starts the next interpreter a moment after a run: by then it is there, and the machine at rest.
  const rest = (): Promise<void> => sleep(4 * first.ours);
  yield await measure({
    ...about,
    figure: "Python, interpreter waiting",
    goal: { of: "ours", atMost: 10 },
    async ours() {
      await rest();
      return await wallMs(() => execute(app, snippet));
    },
  });
  yield await measure({
    ...about,
    figure: "Python, 2 at a time",
    unit: "runs/s",
    goal: { of: "ours", atLeast: 10 },
    ours: () => runsPerSecond(sustainedRuns, 2, () => execute(app, snippet)),
    peer: () => runsPerSecond(2, 2, runBarePython),
  });
  yield await measure({
    ...about,
    figure: "call of a tool from Python, through the door",
    unit: "µs",
    peerName: "the same from JavaScript",
    goal: { of: "ours", atMost: 350 },
    async ours() {
      await rest();
      return await nestedMicros(app, { language: "python", code: nested }, calls);
    },
    peer: async () => {
      await using other = await openBenchApp(folder.path, { engines: ["quickjs"], calls });
      const code = `const start = Date.now(); for (let n = 0; n < ${calls}; n += 1) await tools.echo({ text: "hello" }); Date.now() - start`;
      return await nestedMicros(other, { language: "javascript", code }, calls);
    },
  });
}

async function runBarePython(): Promise<void> {
  const program = join(import.meta.dirname, "bare-python.js");
  const { stdout } = await promisify(execFile)(process.execPath, [program, snippet.code]);
  if (stdout !== String(snippet.result)) throw new Error(`Pyodide answered something else: ${stdout}`);
}

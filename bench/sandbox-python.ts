import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measureBeside, wallMs } from "./measure.ts";
import { execute, python, runProgram, runsPerSecond } from "./sandbox-run.ts";

const sustainedRuns = 20;
const engines: ["pyodide"] = ["pyodide"];
const program = join(import.meta.dirname, "bare-python.js");

/** Python in Pyodide. */
export async function* benchPython(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const snapshot = join(folder.path, "snapshot");
  await promisify(execFile)(process.execPath, [program, snapshot]);
  const shipped = "Pyodide as shipped in a new Node process, unconfined";
  const restored = "Pyodide from a memory snapshot in a new Node process, unconfined";
  const runPyodide = (from: string): Promise<void> => runProgram(process.execPath, [program, from, python.code]);
  const peers = { [shipped]: () => wallMs(() => runPyodide("")), [restored]: () => wallMs(() => runPyodide(snapshot)) };
  const about = { bench: "sandbox", unit: "ms", rounds: 5, peers };

  yield* await measureBeside(
    {
      ...about,
      figure: "Python, first ever (the library is compiled)",
      rounds: 3,
      async ours() {
        await using fresh = await tempFolder();
        await using app = await openBenchApp(fresh.path, { engines });
        return await wallMs(() => execute(app, python));
      },
      peers: { [shipped]: peers[shipped] },
    },
    { warmUp: false },
  );
  const started = await measureBeside({
    ...about,
    figure: "Python, first of a process (the interpreter starts)",
    goal: { of: "ours", atMost: 150 },
    async ours() {
      await using app = await openBenchApp(folder.path, { engines });
      return await wallMs(() => execute(app, python));
    },
  });
  yield* started;
  await using app = await openBenchApp(folder.path, { engines });
  const run = (): Promise<void> => execute(app, python);
  // The pool starts the next interpreter a moment after a run: by then it is there, and the machine at rest.
  const restMs = 4 * (started[0]?.ours ?? 0);
  yield* await measureBeside({
    ...about,
    figure: "Python, interpreter waiting",
    goal: { of: "ours", atMost: 10 },
    async ours() {
      await sleep(restMs);
      return await wallMs(run);
    },
  });
  yield* await measureBeside({
    ...about,
    figure: "Python, 2 at a time",
    unit: "runs/s",
    goal: { of: "ours", atLeast: 10 },
    ours: () => runsPerSecond(sustainedRuns, 2, run),
    peers: {
      [shipped]: () => runsPerSecond(2, 2, () => runPyodide("")),
      [restored]: () => runsPerSecond(4, 2, () => runPyodide(snapshot)),
    },
  });
}

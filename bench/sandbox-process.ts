import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openBubblewrapEngine } from "../src/sandbox/bubblewrap.ts";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure, wallMs } from "./measure.ts";
import { execute, runMany } from "./sandbox-run.ts";
import type { Snippet } from "./sandbox-run.ts";

const snippet: Snippet = { language: "python", code: "sum(n * 2 for n in [1, 2, 3])", result: 12 };
const rounds = 5;
const engines: ["bubblewrap"] = ["bubblewrap"];

/** The machine's own Python in bubblewrap; nothing, and a line that says why, where that does not work. */
export async function* benchProcesses(): AsyncGenerator<Figure> {
  await using engine = openBubblewrapEngine({ warm: 0 });
  const problem = await engine.probe(new AbortController().signal);
  if (problem !== null) {
    process.stderr.write(`bubblewrap is left out: ${problem.reason}\n`);
    return;
  }
  await using folder = await tempFolder();
  const about = {
    bench: "sandbox",
    unit: "ms",
    rounds,
    peerName: "the same Python, unconfined",
    peer: () => runMany(5, runBarePython),
  };
  yield await measure({
    ...about,
    figure: "Python in bubblewrap, first of a process (the interpreter starts)",
    async ours() {
      await using app = await openBenchApp(folder.path, { engines });
      return await wallMs(() => execute(app, snippet));
    },
  });
  await using app = await openBenchApp(folder.path, { engines });
  yield await measure({
    ...about,
    figure: "Python in bubblewrap, one run after the other",
    goal: { of: "ours", atMost: 30 },
    ours: () => runMany(10, () => execute(app, snippet)),
  });
}

async function runBarePython(): Promise<void> {
  const { stdout } = await promisify(execFile)("/usr/bin/python3", ["-I", "-c", `print(${snippet.code})`]);
  if (stdout.trim() !== String(snippet.result)) throw new Error(`Python answered something else: ${stdout}`);
}

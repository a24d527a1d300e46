import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxConfig } from "../src/sandbox/config.ts";
import { descendants } from "../src/sandbox/process/freeze.ts";
import { readMeter } from "../src/sandbox/process/meter.ts";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { measure } from "./measure.ts";
import { execute, javascript, leaveOut, python } from "./sandbox-run.ts";
import type { Snippet } from "./sandbox-run.ts";

/** A run and what stays of it are over by then, and the next interpreter waits. */
const restMs = 2_500;
const pyodide = join(import.meta.dirname, "bare-python.js");
const waiting = {
  python: 'import time; print("ready", flush=True); time.sleep(60)',
  javascript: 'console.log("ready"); setTimeout(() => {}, 60_000)',
};

interface Contender {
  readonly name: string;
  readonly engine: SandboxConfig["engines"][number];
  readonly snippet: Snippet;
  /** A program that says a line when it waits, and goes on waiting. */
  readonly peer: readonly [program: string, ...args: readonly string[]];
}

const contenders: readonly Contender[] = [
  {
    name: "Python",
    engine: "pyodide",
    snippet: python,
    peer: [process.execPath, pyodide, "", waiting.python],
  },
  {
    name: "Python in bubblewrap",
    engine: "bubblewrap",
    snippet: python,
    peer: ["/usr/bin/python3", "-I", "-c", waiting.python],
  },
  {
    name: "JavaScript in bubblewrap",
    engine: "bubblewrap",
    snippet: javascript,
    peer: [process.execPath, "-e", waiting.javascript],
  },
];

/** What an interpreter that waits for its run takes. */
export async function* benchMemory(hasBubblewrap: boolean): AsyncGenerator<Figure> {
  if (readMeter(process.pid) === null) {
    leaveOut("the memory of processes", "there is no /proc");
    return;
  }
  for (const { name, engine, snippet, peer } of contenders) {
    if (engine === "bubblewrap" && !hasBubblewrap) continue;
    await using folder = await tempFolder();
    yield await measure({
      bench: "sandbox",
      figure: `${name}, one that waits`,
      unit: "MB",
      rounds: 3,
      async ours() {
        const before = readMegabytes();
        await using app = await openBenchApp(folder.path, { engines: [engine] });
        await execute(app, snippet);
        await sleep(restMs);
        return readMegabytes() - before;
      },
      peerName: "the same interpreter in a process, unconfined",
      async peer() {
        const before = readMegabytes();
        const [program, ...args] = peer;
        const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
        await once(child.stdout, "data");
        const taken = readMegabytes() - before;
        child.kill();
        await once(child, "close");
        return taken;
      },
    });
  }
}

/** Resident memory of all processes below this one, what they share in the count of each. */
function readMegabytes(): number {
  const resident = descendants(process.pid).map((pid) => readMeter(pid)?.residentBytes ?? 0);
  return resident.reduce((sum, bytes) => sum + bytes, 0) / 1e6;
}

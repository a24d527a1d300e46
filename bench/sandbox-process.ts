import { setTimeout as sleep } from "node:timers/promises";
import { openBubblewrapEngine } from "../src/sandbox/bubblewrap.ts";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure, Peers } from "./measure.ts";
import { measureBeside, wallMs } from "./measure.ts";
import { importSandboxRuntime } from "./peers.ts";
import { execute, javascript, leaveOut, programs, python, runMany, runProgram, runsPerSecond } from "./sandbox-run.ts";

const engines: ["bubblewrap"] = ["bubblewrap"];
const about = { bench: "sandbox", rounds: 5 };
const interpreter = "/usr/bin/python3";
const runsPerRound = 5;
const sustainedRuns = 40;
/** The pool starts the next interpreter meanwhile. */
const restMs = 500;

type Runs = Readonly<Record<string, () => Promise<void>>>;

/** Whether bubblewrap works here; a line says why not. */
export async function probeBubblewrap(): Promise<boolean> {
  await using engine = openBubblewrapEngine({ warm: 0 });
  const problem = await engine.probe(new AbortController().signal);
  if (problem !== null) leaveOut("bubblewrap", problem.reason);
  return problem === null;
}

/** The machine's own Python and Node in bubblewrap. */
export async function* benchProcesses(): AsyncGenerator<Figure> {
  await using runtime = await openSandboxRuntime();
  yield* benchInterpreter("Python", python, {
    "the same Python, unconfined": () => runProgram(interpreter, programs.python),
    "the same Python in bwrap, namespaces alone": () =>
      runProgram("bwrap", [...namespaces, interpreter, ...programs.python]),
    ...(runtime.run === undefined ? {} : { "the same Python in @anthropic-ai/sandbox-runtime": runtime.run }),
  });
  yield* benchInterpreter("JavaScript", javascript, {
    "the same Node, unconfined": () => runProgram(process.execPath, programs.javascript),
  });
}

async function* benchInterpreter(name: string, snippet: typeof python, runs: Runs): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const peers = toPeers(runs, (run) => runMany(runsPerRound, run));
  {
    await using app = await openBenchApp(folder.path, { engines });
    const run = (): Promise<void> => execute(app, snippet);
    yield* await measureBeside({
      ...about,
      figure: `${name} in bubblewrap, interpreter waiting`,
      unit: "ms",
      ...(snippet === python ? { goal: { of: "ours", atMost: 30 } } : {}),
      async ours() {
        await sleep(restMs);
        return await wallMs(run);
      },
      peers,
    });
    yield* await measureBeside({
      ...about,
      figure: `${name} in bubblewrap, 2 at a time`,
      unit: "runs/s",
      ours: () => runsPerSecond(sustainedRuns, 2, run),
      peers: toPeers(runs, (other) => runsPerSecond(sustainedRuns / 2, 2, other)),
    });
  }
  await using app = await openBenchApp(folder.path, { engines, warmBubblewrap: 0 });
  yield* await measureBeside({
    ...about,
    figure: `${name} in bubblewrap, none waiting (the interpreter starts)`,
    unit: "ms",
    ours: () => runMany(runsPerRound, () => execute(app, snippet)),
    peers,
  });
}

const namespaces = [
  ...["--unshare-all", "--die-with-parent", "--new-session", "--clearenv"],
  ...["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"],
];

const toPeers = (runs: Runs, toTurn: (run: () => Promise<void>) => Promise<number>): Peers =>
  Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, () => toTurn(run)]));

/** A run of the Python under sandbox-runtime without a network; none, and a line that says why, where it lacks what it needs. */
async function openSandboxRuntime(): Promise<AsyncDisposable & { readonly run?: () => Promise<void> }> {
  const { SandboxManager: manager } = await importSandboxRuntime();
  const { errors } = manager.checkDependencies();
  if (errors.length > 0) {
    leaveOut("@anthropic-ai/sandbox-runtime", errors.join(", "));
    return { [Symbol.asyncDispose]: async () => undefined };
  }
  await manager.initialize({
    network: { allowedDomains: [], deniedDomains: [] },
    filesystem: { denyRead: [], allowWrite: [], denyWrite: [] },
  });
  const [isolated, flag, program] = programs.python;
  const command = `${interpreter} ${isolated} ${flag} '${program}'`;
  return {
    run: async () => await runProgram("bash", ["-c", await manager.wrapWithSandbox(command)]),
    [Symbol.asyncDispose]: () => manager.reset(),
  };
}

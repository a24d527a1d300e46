import { setTimeout as sleep } from "node:timers/promises";
import { openBubblewrapEngine } from "../src/sandbox/bubblewrap.ts";
import { openBenchApp, tempFolder } from "./home.ts";
import type { Figure, Peers } from "./measure.ts";
import { measureBeside, wallMs } from "./measure.ts";
import { importSandboxRuntime } from "./peers.ts";
import { execute, leaveOut, python, pythonArgs, runMany, runProgram, runsPerSecond } from "./sandbox-run.ts";

const engines: ["bubblewrap"] = ["bubblewrap"];
const interpreter = "/usr/bin/python3";
const runsPerRound = 5;
const sustainedRuns = 40;
/** The pool starts the next interpreter meanwhile. */
const restMs = 100;

/** The machine's own Python in bubblewrap; nothing, and a line that says why, where that does not work. */
export async function* benchProcesses(): AsyncGenerator<Figure> {
  await using engine = openBubblewrapEngine({ warm: 0 });
  const problem = await engine.probe(new AbortController().signal);
  if (problem !== null) {
    leaveOut("bubblewrap", problem.reason);
    return;
  }
  await using folder = await tempFolder();
  await using runtime = await openSandboxRuntime();
  const runs: Readonly<Record<string, () => Promise<void>>> = {
    "the same Python, unconfined": () => runProgram(interpreter, pythonArgs),
    "the same Python in bwrap, namespaces alone": () =>
      runProgram("bwrap", [...namespaces, interpreter, ...pythonArgs]),
    ...(runtime.run === undefined ? {} : { "the same Python in @anthropic-ai/sandbox-runtime": runtime.run }),
  };
  const about = { bench: "sandbox", unit: "ms", rounds: 5 };
  const peers = toPeers(runs, (run) => runMany(runsPerRound, run));
  {
    await using app = await openBenchApp(folder.path, { engines });
    const run = (): Promise<void> => execute(app, python);
    yield* await measureBeside({
      ...about,
      figure: "Python in bubblewrap, interpreter waiting",
      goal: { of: "ours", atMost: 30 },
      async ours() {
        await sleep(restMs);
        return await wallMs(run);
      },
      peers,
    });
    yield* await measureBeside({
      ...about,
      figure: "Python in bubblewrap, 2 at a time",
      unit: "runs/s",
      ours: () => runsPerSecond(sustainedRuns, 2, run),
      peers: toPeers(runs, (other) => runsPerSecond(sustainedRuns / 2, 2, other)),
    });
  }
  await using app = await openBenchApp(folder.path, { engines, warmBubblewrap: 0 });
  yield* await measureBeside({
    ...about,
    figure: "Python in bubblewrap, none waiting (the interpreter starts)",
    ours: () => runMany(runsPerRound, () => execute(app, python)),
    peers,
  });
}

const namespaces = [
  ...["--unshare-all", "--die-with-parent", "--new-session", "--clearenv"],
  ...["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"],
];

const toPeers = (
  runs: Readonly<Record<string, () => Promise<void>>>,
  toTurn: (run: () => Promise<void>) => Promise<number>,
): Peers => Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, () => toTurn(run)]));

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
  const [isolated, flag, program] = pythonArgs;
  const command = `${interpreter} ${isolated} ${flag} '${program}'`;
  return {
    run: async () => await runProgram("bash", ["-c", await manager.wrapWithSandbox(command)]),
    [Symbol.asyncDispose]: () => manager.reset(),
  };
}

import { spawn } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { openBenchApp, tempFolder } from "./home.ts";
import { openOurRuns } from "./host-ours.ts";
import type { RunCalls } from "./host-peers.ts";
import { openAi, openLanggraph, openOpenaiAgents } from "./host-peers.ts";
import { benchHostStreams } from "./host-streams.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measureBeside, toFigure } from "./measure.ts";

const turnsPerRound = 400;
const together = { runs: 300, atOnce: 100, calls: 5 };
const concurrent = 1_000;

/** What a durable turn costs beside loops that keep nothing and one that keeps every step, and what runs take of disk and memory. */
export async function* benchHost(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  await using app = await openBenchApp(folder.path);
  const kept = join(folder.path, "langgraph.db");
  const ours: RunCalls = openOurRuns(app).run;
  const durable = await openLanggraph(kept);
  const peers: Readonly<Record<string, RunCalls>> = {
    "ai, generateText (keeps nothing)": await openAi(),
    "@openai/agents, no tracing (keeps nothing)": await openOpenaiAgents(),
    "LangGraph, createReactAgent (keeps nothing)": await openLanggraph(),
    "LangGraph with its SQLite checkpointer": durable,
  };

  for (const calls of [1, 10, 50]) {
    const runs = Math.ceil(turnsPerRound / (calls + 1));
    const inTurn = (run: RunCalls) => () =>
      cpuMicros(runs * (calls + 1), async () => {
        for (let done = 0; done < runs; done += 1) await run(calls);
      });
    yield* await measureBeside({
      bench: "host",
      figure: `durable turn, a run of ${calls} tool ${calls === 1 ? "call" : "calls"} (door, ledger, audit, chained log)`,
      unit: "µs CPU per turn",
      goal: { of: "ours", atMost: 150 },
      ours: inTurn(ours),
      peers: toContenders(peers, inTurn),
    });
  }

  const { runs, atOnce, calls } = together;
  const perSecond = (run: RunCalls) => async () =>
    1e6 / (await cpuMicros(runs, () => runTogether(run, runs, atOnce, calls)));
  yield* await measureBeside({
    bench: "host",
    figure: `runs of ${calls} tool calls, ${atOnce} at a time`,
    unit: "runs per CPU second",
    goal: { of: "ours", atLeast: 1_000 },
    ours: perSecond(ours),
    peers: toContenders(peers, perSecond),
    rounds: 5,
  });

  const size = async (bytes: () => number, run: RunCalls): Promise<number> => {
    const before = bytes();
    for (let done = 0; done < 20; done += 1) await run(50);
    return (bytes() - before) / 20 / 1_000;
  };
  yield toFigure(
    {
      bench: "host",
      figure: "on disk, a run of 50 tool calls",
      unit: "kB",
      peerName: "LangGraph with its SQLite checkpointer",
      rounds: 1,
    },
    await size(() => sizeOf(join(folder.path, "state.db")), ours),
    await size(() => sizeOf(kept), durable),
  );
  yield* benchHostStreams();
  yield* benchMemory();
}

function toContenders(
  peers: Readonly<Record<string, RunCalls>>,
  measured: (run: RunCalls) => () => Promise<number>,
): Readonly<Record<string, () => Promise<number>>> {
  return Object.fromEntries(Object.entries(peers).map(([name, run]) => [name, measured(run)]));
}

async function runTogether(run: RunCalls, runs: number, atOnce: number, calls: number): Promise<void> {
  let left = runs;
  const oneAfterAnother = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await run(calls);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, oneAfterAnother));
}

/** A database with its write-ahead log, in bytes. */
function sizeOf(path: string): number {
  return ["", "-wal"].reduce((sum, end) => sum + (statSync(`${path}${end}`, { throwIfNoEntry: false })?.size ?? 0), 0);
}

const Held = z.object({ before: z.number(), during: z.number(), rss: z.number(), after: z.number() });

/** What runs take that are all in the middle of a model call, in a process of their own; nothing is left of them afterwards. */
async function* benchMemory(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  const program = join(import.meta.dirname, "host-memory.ts");
  const child = spawn(process.execPath, [program, folder.path, String(concurrent)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { before, during, rss, after } = Held.parse(JSON.parse(await text(child.stdout)));
  const mega = (bytes: number): number => bytes / 1_000_000;
  const about = { bench: "host", unit: "MB", rounds: 1 };
  yield toFigure(
    { ...about, figure: `${concurrent} runs at once, resident`, peerName: "heap of the same process before" },
    mega(rss),
    mega(before),
    { of: "ours", atMost: 300 },
  );
  yield toFigure(
    { ...about, figure: `heap after ${concurrent} runs have ended`, peerName: "while they run" },
    mega(after - before),
    mega(during - before),
    { of: "ours", atMost: 5 },
  );
}

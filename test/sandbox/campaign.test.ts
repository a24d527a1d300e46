import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect } from "vitest";
import { openEngines } from "../../src/sandbox/all.ts";
import { SandboxConfig } from "../../src/sandbox/config.ts";
import { toHomeId } from "../../src/sandbox/docker/owner.ts";
import type { Engine, ExecResult } from "../../src/sandbox/engine.ts";
import { slowCases } from "../support/cases.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { isRequired, testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { echo } from "./hostile/case.ts";
import { collectedRss } from "./hostile/memory-back.ts";
import { runIn, testLimits } from "./hostile.ts";
import { pythonCache } from "../support/python.ts";

type Programs = "javascript" | "python";

const kinds = ["memoryBytes", "descriptors", "threads", "processes", "containers", "folders"] as const;
/** What runs hold of the machine, of each kind. */
type Held = Readonly<Record<(typeof kinds)[number], number>>;

const mebibyte = 1024 * 1024;
const never = new AbortController().signal;
/** Runs under way at a time, so that kills meet one another. */
const atOnce = 3;
/** A run is killed at a random moment up to so long after its start; some end before. */
const killWithinMs = 60;

/** What a run may be in the middle of when it is killed. */
const programs: Readonly<Record<Programs, readonly string[]>> = {
  javascript: [
    "for (;;);",
    "for (;;) await tools.echo({ x: 1 })",
    "const a = []; for (;;) a.push(new Array(1000).fill(7))",
    'for (;;) console.log("x".repeat(1000))',
    "setInterval(() => {}, 1); await new Promise(() => {})",
    'files.write("a.txt", "x"); 1',
  ],
  python: [
    "while True: pass",
    "while True: tools.echo(x=1)",
    "a = []\nwhile True: a.append(bytearray(1 << 20))",
    'while True: print("x" * 1000)',
    "import asyncio\nawait asyncio.gather(*[tools.acall('echo') for _ in range(20)])\nawait asyncio.sleep(60)",
    'open("/out/a.txt", "w").write("x")',
    "import os\nos._exit(0)",
  ],
};
/** Runs in all: those of the campaign, or a sample of them. */
const isCampaign = slowCases > 100;
const [scriptRuns, otherRuns] = isCampaign ? [10_000, 500] : [60, 12];

const folder = await tempFolder();
// Whatever is made for a while is made in a folder that is ours alone.
process.env["TMPDIR"] = folder.path;
const image = await testImage().catch(() => "none");
const config = SandboxConfig.parse({ docker: { socket: dockerSocket, image } });
const cacheDir = join(folder.path, "cache");
// Making what Python starts from takes some seconds, so where it is there it is copied.
if (existsSync(pythonCache)) cpSync(pythonCache, cacheDir, { recursive: true });
afterAll(() => folder[Symbol.asyncDispose]());

const open = (): readonly Engine[] => openEngines({ cacheDir, config });
const tried = open().flatMap(({ name, languages }, index) =>
  languages
    .filter((language) => language === "javascript" || language === "python")
    .map((language) => ({ name, language, index })),
);

describe.for(tried)("$name", ({ name, language, index }) => {
  const count = name === "quickjs" ? scriptRuns : otherRuns;

  testWith("linux")(
    `${count} runs of ${language} that are killed at any moment leave nothing behind`,
    { timeout: 60_000 + count * 3_000 },
    async ({ skip }) => {
      // Each test closes what it opens, so it opens its own; nothing of the others starts.
      const engine = open()[index];
      if (engine === undefined) throw new Error("There is no such engine.");
      const why = await engine.probe(never);
      skip(why !== null && !isRequired(name), why?.reason);
      expect(why).toBeNull();
      const start = hold();
      const statuses = new Map<string, number>();
      const kill = async (runs: number): Promise<void> => {
        let left = runs;
        const lane = async (): Promise<void> => {
          while ((left -= 1) >= 0) {
            const status = await killOne(engine, language);
            statuses.set(status, (statuses.get(status) ?? 0) + 1);
          }
        };
        await Promise.all(Array.from({ length: atOnce }, lane));
        expect(await runIn(engine, language, "1+1")).toMatchObject({ status: "ok", result: 2 });
      };
      await kill(Math.ceil(count / 4));
      const before = hold();
      const startedAt = Date.now();
      await kill(count - Math.ceil(count / 4));
      // What waits for the next run comes and goes: as many as may be in use.
      await expectNoMore(before, {
        threads: atOnce,
        processes: 3 * atOnce,
        descriptors: 10 * atOnce,
        containers: atOnce,
      });
      if (isCampaign) tell(`${name}, ${language}`, Date.now() - startedAt, statuses, before);
      await engine[Symbol.asyncDispose]();
      await expectNoMore({ ...start, memoryBytes: before.memoryBytes }, { threads: 1, descriptors: 2 });
      expect(statuses.get("cancelled")).toBeGreaterThan(0);
    },
  );
});

/** Starts one of the programs and kills it: by its signal, by closing its sandbox, or by its time. */
async function killOne(engine: Engine, language: Programs): Promise<ExecResult["status"]> {
  const how = pick(["signal", "dispose", "time"]);
  const killMs = Math.ceil(Math.random() * killWithinMs);
  const limits = { ...testLimits, wallMs: how === "time" ? killMs : testLimits.wallMs };
  const sandbox = await engine.open({ language }, never);
  const request = { language, code: pick(programs[language]), files: [], limits, onCall: echo };
  const running = sandbox.run(request, how === "signal" ? AbortSignal.timeout(killMs) : never);
  if (how === "dispose") await sleep(killMs);
  else await running;
  await sandbox[Symbol.asyncDispose]();
  return (await running).status;
}

function pick(from: readonly string[]): string {
  return from[Math.floor(Math.random() * from.length)] ?? "";
}

/** Waits until no more is held than before, apart from what may be more of each. */
async function expectNoMore(before: Held, more: Partial<Held>): Promise<void> {
  const most = { ...before, memoryBytes: before.memoryBytes + Math.max(before.memoryBytes * 0.2, 48 * mebibyte) };
  const grown = (): readonly string[] => {
    const now = hold();
    return kinds
      .filter((kind) => now[kind] > most[kind] + (more[kind] ?? 0))
      .map((kind) => `${kind}: ${now[kind]} after ${before[kind]}`);
  };
  for (const deadline = Date.now() + 60_000; grown().length > 0 && Date.now() < deadline;) await sleep(100);
  expect(grown()).toEqual([]);
}

/** Prints how the runs of an engine ended, and what they held after a quarter of them and after all. */
function tell(title: string, tookMs: number, statuses: ReadonlyMap<string, number>, before: Held): void {
  const now = hold();
  const ends = Array.from(statuses, ([status, runs]) => `${runs} ${status}`);
  const held = kinds.map((kind) => `${kind} ${before[kind]}, then ${now[kind]}`);
  process.stdout.write(`${title}: ${ends.join(", ")}; three quarters took ${tookMs} ms; ${held.join("; ")}\n`);
}

function hold(): Held {
  return {
    memoryBytes: collectedRss(),
    descriptors: readdirSync("/proc/self/fd").length,
    threads: readdirSync("/proc/self/task").length,
    processes: countDescendants(),
    containers: image === "none" ? 0 : countContainers(),
    folders: [folder.path, cacheDir].flatMap((path) => readdirSync(path)).length,
  };
}

/** How many processes descend from this one. */
function countDescendants(): number {
  const parents = new Map(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => [pid, parentOf(pid)]),
  );
  const descends = (pid: string): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === `${process.pid}` || descends(parent));
  };
  return Array.from(parents.keys(), descends).filter(Boolean).length;
}

function parentOf(pid: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
  } catch {
    // It has ended.
    return undefined;
  }
}

function countContainers(): number {
  const filter = `label=dev.capstan.home=${toHomeId(cacheDir)}`;
  const args = ["-H", `unix://${dockerSocket}`, "ps", "--all", "--quiet", "--filter", filter];
  return execFileSync("docker", args, { encoding: "utf8" }).split("\n").filter(Boolean).length;
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { slowCases } from "../support/cases.ts";
import { testWith } from "../support/machine.ts";
import { pythonCache } from "../support/python.ts";
import { tempFolder } from "../support/temp.ts";
import { openPyodideEngine } from "../../src/sandbox/pyodide.ts";
import { runIn, testLimits } from "./hostile.ts";
import { alsoPlain, openPython } from "./python.ts";

const never = new AbortController().signal;
const busy = { language: "python", code: "while True: pass", files: [], limits: testLimits } as const;

/** A cache folder of its own, so that the processes that were started from it can be told by their command lines. */
async function ownCache() {
  const folder = await tempFolder();
  cpSync(pythonCache, folder.path, { recursive: true });
  return folder;
}

/** Every process with the path in its command line, and what descends from one, as "pid:start time". */
function family(path: string): readonly string[] {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return fields[0] === "Z" ? [] : [{ pid, parent: fields[1], start: fields[19], command }];
      } catch {
        return [];
      }
    });
  const found = new Set(all.filter(({ command }) => command.includes(`${path}/python-`)).map(({ pid }) => pid));
  for (let before = -1; before !== found.size;) {
    before = found.size;
    for (const { pid, parent } of all) if (found.has(parent ?? "")) found.add(pid);
  }
  return all.filter(({ pid }) => found.has(pid)).map(({ pid, start }) => `${pid}:${start}`);
}

async function expectNoneOf(processes: readonly string[]): Promise<void> {
  const alive = () =>
    processes.filter((process) => {
      const [pid, start] = process.split(":");
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return fields[19] === start && fields[0] !== "Z";
      } catch {
        return false;
      }
    });
  for (const deadline = Date.now() + 60_000; alive().length > 0 && Date.now() < deadline;) await sleep(20);
  expect(alive()).toEqual([]);
}

// The shared cache is there before it is copied.
beforeAll(async () => {
  await using engine = openPython({ warm: 0 });
  await runIn(engine, "python", "1");
});

describe("Python processes in bubblewrap, where it works", () => {
  holdProcesses("auto");
});
describe.skipIf(!alsoPlain)("Python processes without bubblewrap", () => {
  holdProcesses("never");
});

testWith("bubblewrap")(
  "a process in bubblewrap has a filter for system calls and no way to privileges",
  async () => {
    await using cache = await ownCache();
    await using engine = openPyodideEngine({ cacheDir: cache.path, bubblewrap: "auto", warm: 0 });
    await using _ = await engine.open({ language: "python" }, never);
    const states = family(cache.path).map((process) => {
      const status = readFileSync(`/proc/${process.split(":")[0]}/status`, "utf8");
      return [...status.matchAll(/^(Seccomp|NoNewPrivs|CapEff|CapBnd):\s+(\w+)$/gm)].map(([, name, value]) => [
        name,
        value,
      ]);
    });
    const inside = { CapEff: "0".repeat(16), CapBnd: "0".repeat(16), NoNewPrivs: "1", Seccomp: "2" };
    expect(states.map((state) => Object.fromEntries(state))).toContainEqual(inside);
  },
  60_000,
);

function holdProcesses(bubblewrap: "auto" | "never"): void {
  testWith("linux")(
    "a run that is killed at any time leaves no process and no descriptor",
    async () => {
      await using cache = await ownCache();
      await using engine = openPyodideEngine({ cacheDir: cache.path, bubblewrap, warm: 0 });
      await runIn(engine, "python", "1");
      const descriptors = readdirSync("/proc/self/fd").length;
      for (let round = 0; round < slowCases / 2; round += 1) {
        const sandbox = await engine.open({ language: "python" }, never);
        const started = family(cache.path);
        expect(started.length).toBeGreaterThan(0);
        const running = sandbox.run(busy, AbortSignal.timeout(Math.ceil(Math.random() * 60)));
        await sleep(Math.random() * 60);
        await sandbox[Symbol.asyncDispose]();
        expect((await running).status).toBe("cancelled");
        await expectNoneOf(started);
      }
      expect(family(cache.path)).toEqual([]);
      expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(descriptors + 2);
    },
    180_000,
  );

  testWith("linux")("an opening that is given up leaves no process", async () => {
    await using cache = await ownCache();
    await using engine = openPyodideEngine({ cacheDir: cache.path, bubblewrap, warm: 0 });
    for (let round = 0; round < 3; round += 1) {
      await expect(engine.open({ language: "python" }, AbortSignal.timeout(20 + 60 * round))).rejects.toThrow(
        "timeout",
      );
      const started = family(cache.path);
      // One that was under way is killed when it is ready.
      for (const deadline = Date.now() + 60_000; family(cache.path).length > 0 && Date.now() < deadline;)
        await sleep(50);
      await expectNoneOf(started);
    }
    expect(await runIn(engine, "python", "2")).toMatchObject({ status: "ok", result: 2 });
  });

  testWith("linux")("no interpreter outlives a process that was killed, busy, waiting or frozen", async () => {
    await using cache = await ownCache();
    const program = `
      import { openPyodideEngine } from ${JSON.stringify(join(import.meta.dirname, "../../src/sandbox/pyodide.ts"))};
      const engine = openPyodideEngine(${JSON.stringify({ cacheDir: cache.path, bubblewrap, warm: 1 })});
      const signal = new AbortController().signal;
      const sandbox = await engine.open({ language: "python" }, signal);
      const session = await engine.open({ language: "python", isSession: true }, signal);
      await session.run(${JSON.stringify({ ...busy, code: "1" })}, signal);
      await (await engine.open({ language: "python" }, signal))[Symbol.asyncDispose]();
      void sandbox.run(${JSON.stringify(busy)}, signal);
      setTimeout(() => process.stdout.write("busy"), 200);
    `;
    const args = ["--no-warnings", "--input-type=module-typescript", "--eval", program];
    const parent = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    await once(parent.stdout, "data");
    const started = family(cache.path);
    expect(started.length).toBeGreaterThanOrEqual(3);
    parent.kill("SIGKILL");
    await once(parent, "exit");
    await expectNoneOf(started);
  });

  testWith("linux")("none is started before the first use, and as many wait after it as were asked for", async () => {
    await using cache = await ownCache();
    const engine = openPyodideEngine({ cacheDir: cache.path, bubblewrap, warm: 1 });
    expect(family(cache.path)).toEqual([]);
    await runIn(engine, "python", "1");
    const first = await waiting(cache.path);
    // It serves one run, and another takes its place.
    expect(await runIn(engine, "python", "2")).toMatchObject({ status: "ok", result: 2 });
    const second = await waiting(cache.path);
    expect(first.filter((process) => second.includes(process))).toEqual([]);
    // One that ran nothing goes on waiting.
    await (await engine.open({ language: "python" }, never))[Symbol.asyncDispose]();
    expect(await waiting(cache.path)).toEqual(second);
    await engine[Symbol.asyncDispose]();
    expect(family(cache.path)).toEqual([]);
  });

  /** The processes that are there when none comes or goes any more. */
  async function waiting(path: string): Promise<readonly string[]> {
    let before: readonly string[] = [];
    for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(300)) {
      const found = family(path);
      if (found.length > 0 && found.join() === before.join()) return found;
      before = found;
    }
    throw new Error("No interpreter waits.");
  }

  test("disposing the engine ends the runs under way", async () => {
    const engine = openPython({ bubblewrap, warm: 0 });
    const sandbox = await engine.open({ language: "python" }, never);
    const running = sandbox.run(busy, never);
    await sleep(50);
    await engine[Symbol.asyncDispose]();
    expect(await running).toMatchObject({ status: "cancelled" });
    await sandbox[Symbol.asyncDispose]();
  });
}

describe("Python runs", () => {
  let engine = openPython();
  afterAll(() => engine[Symbol.asyncDispose]());

  testWith("bubblewrap")("tell what denies them the network", async () => {
    const { isolation } = await runIn(engine, "python", "1");
    expect(isolation).toEqual({
      engine: "pyodide",
      level: "wasm-in-child",
      network: "network namespace (bubblewrap)",
    });
    await using plain = openPython({ bubblewrap: "never", warm: 0 });
    expect((await runIn(plain, "python", "1")).isolation.network).toBe("stubs in the child only");
  });
});

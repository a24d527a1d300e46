import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { callDoor, openBenchApp, tempFolder, toBenchGrant } from "./home.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measureBeside, wallMs } from "./measure.ts";
import { executeAny } from "./sandbox-run.ts";

const calls = 1_000;
/** Until the pool has started the next Python, and the machine is at rest. */
const restMs = 1_500;

/** Code that makes so many calls of a tool, one after the other, and gives how many ms they took. */
const nested = {
  javascript: `
const start = Date.now();
for (let made = 0; made < ${calls}; made += 1) await tools.echo({ text: "hello" });
Date.now() - start`,
  python: `
import time
start = time.perf_counter()
for _ in range(${calls}): tools.echo(text="hello")
(time.perf_counter() - start) * 1000`,
};

/** Calls of a tool from code: out of the sandbox, through the door, charged and on record, and back. */
export async function* benchNested(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  await using app = await openBenchApp(folder.path, { engines: ["quickjs", "pyodide"], calls });
  const grant = toBenchGrant(app, ["echo"]);
  const atTheDoor = () => eachMicros(() => callDoor(app, grant, "echo", { text: "hello" }));
  const called = "the same call at the door, from this process";
  const about = { bench: "sandbox", rounds: 5 };
  const contests = [
    { language: "javascript", name: "JavaScript", atMost: 120 },
    { language: "python", name: "Python", atMost: 350 },
  ] as const;
  for (const { language, name, atMost } of contests) {
    yield* await measureBeside({
      ...about,
      figure: `call of a tool from ${name}`,
      unit: "µs",
      goal: { of: "ours", atMost },
      async ours() {
        if (language === "python") await sleep(restMs);
        const ms = await executeAny(app, { language, code: nested[language] });
        if (typeof ms !== "number") throw new Error("The code measured no time.");
        return (ms * 1_000) / calls;
      },
      peers: { [called]: atTheDoor, "a bare message to a thread and its answer": bareMessageMicros },
    });
  }
  yield* await measureBeside({
    ...about,
    figure: "call of a tool from JavaScript: all threads",
    unit: "µs CPU",
    ours: () => cpuMicros(calls, () => executeAny(app, { language: "javascript", code: nested.javascript })),
    peers: { [called]: () => cpuMicros(calls, atTheDoor) },
  });
}

async function bareMessageMicros(): Promise<number> {
  const program = `const { parentPort } = require("node:worker_threads"); parentPort.on("message", (m) => parentPort.postMessage(m));`;
  const worker = new Worker(program, { eval: true });
  await once(worker, "online");
  const micros = await eachMicros(async () => {
    const answered = once(worker, "message");
    worker.postMessage("hello");
    await answered;
  });
  await worker.terminate();
  return micros;
}

/** What one of so many takes, one after the other, on the clock. */
async function eachMicros(act: () => Promise<unknown>): Promise<number> {
  const ms = await wallMs(async () => {
    for (let made = 0; made < calls; made += 1) await act();
  });
  return (ms * 1_000) / calls;
}

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import type { Engine, Language } from "../../src/sandbox/engine.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeWith, testWith } from "../support/machine.ts";
import { testLimits } from "./hostile.ts";
import { openPython } from "./python.ts";

const script = {
  language: "javascript",
  /** Begins a call and does not wait for it: its answer would be kept. */
  leaves: "globalThis.got = null; tools.echo({ run: 1 }).then((came) => (globalThis.got = came), () => {}); 1",
  /** The answer of a call of its own, and what became of the one that was left. */
  calls: "const mine = await tools.echo({ run: 2 }); [mine, globalThis.got]",
} as const;
const python = {
  language: "python",
  leaves: `
import asyncio
got = None
async def keep():
    global got
    got = await tools.acall("echo", run=1)
left = asyncio.ensure_future(keep())
await asyncio.sleep(0.05)
1`,
  calls: `
mine = await tools.acall("echo", run=2)
[mine, got]`,
} as const;

/** A call that a run of a session left behind, and whose answer comes while the next run makes a call of its own. */
function testLateAnswer(
  name: string,
  openEngine: () => Engine,
  code: { readonly language: Language; readonly leaves: string; readonly calls: string },
): void {
  test(`${name}: the answer to a call that a run left reaches no later run of its session`, async () => {
    await using engine = openEngine();
    const { signal } = new AbortController();
    await using sandbox = await engine.open({ language: code.language, isSession: true }, signal);
    const late = Promise.withResolvers<Json>();
    const request = { language: code.language, files: [], limits: testLimits };
    const signals: AbortSignal[] = [];
    const first = await sandbox.run(
      {
        ...request,
        code: code.leaves,
        onCall: (_name, _args, stop) => {
          signals.push(stop);
          return late.promise;
        },
      },
      signal,
    );
    expect(first).toMatchObject({ status: "ok", result: 1 });
    const answer = async (_name: string, args: Json): Promise<Json> => {
      late.resolve("late");
      await sleep(50);
      return { of: args };
    };
    const second = await sandbox.run({ ...request, code: code.calls, onCall: answer }, signal);
    expect(second).toMatchObject({ status: "ok", result: [{ of: { run: 2 } }, null] });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });
}

/** Waits in a later run for what an earlier one left: what was awaited, what came of it, and whether the session goes on. */
async function awaitLeft(engine: Engine, language: Language, leaves: string, awaits: string): Promise<unknown> {
  const { signal } = new AbortController();
  await using sandbox = await engine.open({ language, isSession: true }, signal);
  const onCall = (): Promise<Json> => Promise.withResolvers<Json>().promise;
  const request = { language, files: [], limits: testLimits, onCall };
  const ran: unknown[] = [];
  for (const code of [leaves, awaits, "7"]) {
    const { status, result, error = "" } = await sandbox.run({ ...request, code }, signal);
    ran.push([status, result, error.split("\n", 1).join("").slice(0, 60)]);
  }
  return ran;
}

const cancelled = [
  ["ok", 1, ""],
  ["ok", "tool.cancelled", ""],
  ["ok", 7, ""],
];
/** A call by a task, and with `thread` one by a thread that stands still for it. */
const pythonLeft = {
  leaves: `
import asyncio
left = asyncio.ensure_future(tools.acall("echo"))
await asyncio.sleep(0.05)
1`,
  awaits: `
try:
    await left
except ToolError as failure:
    result = failure.code`,
} as const;
const threadLeft = {
  leaves: `
import threading, time
def leave():
    global code
    try:
        tools.echo()
    except ToolError as failure:
        code = failure.code
thread = threading.Thread(target=leave)
thread.start()
time.sleep(0.05)
1`,
  awaits: `thread.join()\ncode`,
} as const;
/** A call whose caller was interrupted: its answer is nobody's. */
const interrupted = {
  leaves: `
import signal
def interrupt(*_):
    raise TimeoutError
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    tools.echo()
except TimeoutError:
    result = 1`,
  awaits: `"tool.cancelled"`,
} as const;
const nodeLeft = {
  leaves: `var left = tools.echo().then((came) => came); 1`,
  awaits: `try { await left } catch (failure) { failure.code }`,
} as const;

describe("a call that an earlier run of the session left is over for who awaits it", () => {
  test("in QuickJS, where it never ends", async () => {
    await using engine = openQuickjsEngine();
    expect(await awaitLeft(engine, "javascript", nodeLeft.leaves, nodeLeft.awaits)).toEqual([
      ["ok", 1, ""],
      ["error", null, expect.stringContaining("stalled")],
      ["ok", 7, ""],
    ]);
  });

  test("in Pyodide", async () => {
    await using engine = openPython();
    expect(await awaitLeft(engine, "python", pythonLeft.leaves, pythonLeft.awaits)).toEqual(cancelled);
  });

  testWith("bubblewrap")("in the machine's own interpreters", async () => {
    await using engine = openBubblewrapEngine();
    expect(await awaitLeft(engine, "python", pythonLeft.leaves, pythonLeft.awaits)).toEqual(cancelled);
    expect(await awaitLeft(engine, "python", threadLeft.leaves, threadLeft.awaits)).toEqual(cancelled);
    expect(await awaitLeft(engine, "python", interrupted.leaves, interrupted.awaits)).toEqual(cancelled);
    expect(await awaitLeft(engine, "javascript", nodeLeft.leaves, nodeLeft.awaits)).toEqual(cancelled);
    // Nobody awaits it, and that counts as no failure of the later run.
    expect(
      await awaitLeft(engine, "javascript", nodeLeft.leaves, `await new Promise((done) => setTimeout(done, 200)); 2`),
    ).toEqual([
      ["ok", 1, ""],
      ["ok", 2, ""],
      ["ok", 7, ""],
    ]);
  });
});

testLateAnswer("QuickJS", () => openQuickjsEngine(), script);
testLateAnswer("Pyodide", () => openPython(), python);
describeWith("bubblewrap")("in bubblewrap", () => {
  testLateAnswer("Python of the machine", () => openBubblewrapEngine(), python);
  testLateAnswer("Node of the machine", () => openBubblewrapEngine(), script);
});

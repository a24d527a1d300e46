import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import type { Engine, Language } from "../../src/sandbox/engine.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeWith } from "../support/machine.ts";
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

testLateAnswer("QuickJS", () => openQuickjsEngine(), script);
testLateAnswer("Pyodide", () => openPython(), python);
describeWith("bubblewrap")("in bubblewrap", () => {
  testLateAnswer("Python of the machine", () => openBubblewrapEngine(), python);
  testLateAnswer("Node of the machine", () => openBubblewrapEngine(), script);
});

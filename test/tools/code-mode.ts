import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Engine, ExecLimits, Language } from "../../src/sandbox/engine.ts";
import { executeCodeTool } from "../../src/tools/execute-code.ts";
import { fromZod } from "../../src/tools/schema.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { openTestDoor, testTool, valueOf } from "../support/door.ts";

/** The same small programs in a language. Each is a whole program; what its result must be stands beside it. */
export interface CodeMode {
  readonly language: Language;
  /** The answer of the tool of this name to these arguments, called as an attribute of `tools`. */
  readonly call: (name: string, args: string) => string;
  /** The answer of a tool whose name is no identifier, called by `tools[name]` and by `tools.call`: both, in a list. */
  readonly byName: (name: string) => string;
  /** For each name: `[code, message, whether it is a ToolError]` of what calling it by its name throws. */
  readonly caught: (names: readonly string[]) => string;
  /** So many calls of `slow` at once: how many came to a value, and the distinct codes of the others. */
  readonly atOnce: (calls: number) => string;
  /** Calls `look` again and again, whatever it throws. */
  readonly forever: string;
  /** Calls `echo` with the JSON text that `args` is, parsed by the language itself; result: its answer. */
  readonly parsed: (args: string) => string;
}

const Anything = z.looseObject({});

/** A tool that answers with the arguments as they came in, as JSON text. */
const echo = defineTool({
  name: "echo",
  title: "Echo",
  description: "Answers its arguments.",
  input: fromZod(Anything),
  hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
  effect: "read",
  needs: () => [],
  run: async (args) => ({ type: "done", value: JSON.stringify(args) }),
});

/** A door over `execute_code` with these engines, and the other tools that its code may reach. */
async function openCodeDoor(
  engines: readonly Engine[],
  others: readonly Tool[] = [],
  limits: Partial<ExecLimits> = {},
) {
  await using opened = new AsyncDisposableStack();
  const { artifacts } = opened.use(await openTestArtifacts());
  const tools: Tool[] = [...others];
  tools.push(executeCodeTool({ engines, limits: { ...testLimits, ...limits }, listed: () => tools, artifacts }));
  const capstan = opened.use(await openTestDoor(tools));
  const owned = opened.move();
  return { ...capstan, artifacts, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What code mode promises in every engine, through the real door. */
export function describeCodeMode(name: string, openEngine: () => Engine, code: CodeMode): void {
  const { language } = code;
  describe(`code mode in ${name}`, () => {
    const engine = openEngine();
    afterAll(() => engine[Symbol.asyncDispose]());

    type Over = {
      readonly tools?: readonly Tool[];
      readonly limits?: Partial<ExecLimits>;
      readonly timeoutMs?: number;
    };
    const run = async (text: string, { tools = [], limits = {}, timeoutMs }: Over = {}) => {
      await using capstan = await openCodeDoor([engine], tools, limits);
      const args = { language, code: text, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
      const { outcome, taint } = await capstan.call("execute_code", args);
      const used = (await capstan.store.used([capstan.grant.id])).get(capstan.grant.id);
      return { value: valueOf(outcome), taint, calls: used?.calls, faults: capstan.faults };
    };

    test("a tool is called by its name, whatever characters that has", async () => {
      const look = await run(code.call("look", '{"text": "é\\u2028"}'), { tools: [testTool("look")] });
      expect(look.value).toMatchObject({ status: "ok", result: { text: "é\u2028" } });
      const dashed = await run(code.byName("a-b"), { tools: [testTool("a-b")] });
      expect(dashed.value).toMatchObject({ status: "ok", result: [{ text: "" }, { text: "" }] });
    });

    test("what fails is a ToolError with a code, and names that every object has are no tools", async () => {
      const refuses = testTool("refuses", {
        run: async () => ({
          type: "done",
          isError: true,
          code: "todo.not_found",
          content: [{ type: "text", text: "todo.not_found: There is no such todo." }],
        }),
      });
      const fails = testTool("fails", { run: () => Promise.reject(new Error("secret of the host")) });
      const names = ["refuses", "fails", "__proto__", "constructor", "toString", "__class__", "a.b", "x\ny"];
      const { value, faults } = await run(code.caught(names), { tools: [refuses, fails] });
      const unknown = (tool: string) => [
        "tool.unknown",
        `tool.unknown: No tool is called ${JSON.stringify(tool)} here. List the tools to see which are.`,
        true,
      ];
      expect(value).toMatchObject({
        status: "ok",
        result: [
          ["todo.not_found", "todo.not_found: There is no such todo.", true],
          ["core.internal", expect.stringMatching(/^core\.internal: Something failed inside Capstan\./), true],
          ...names.slice(2).map(unknown),
        ],
      });
      expect(JSON.stringify(value)).not.toContain("secret");
      expect(faults).toHaveLength(1);
    });

    test("calls at once are bounded, and end with the quota", async () => {
      let running = 0;
      let most = 0;
      const slow = testTool("slow", {
        run: async () => {
          running += 1;
          most = Math.max(most, running);
          await sleep(20);
          running -= 1;
          return { type: "done", value: "x" };
        },
      });
      const { value, calls } = await run(code.atOnce(10_000), { tools: [slow], limits: { calls: 40 } });
      expect(value).toMatchObject({ status: "ok", result: [40, ["budget.calls"]] });
      expect(most).toBe(16);
      expect(calls).toBe(41);
    });

    test("who never gives up after the quota is timed out", async () => {
      const { value, calls } = await run(code.forever, { tools: [testTool("look")], timeoutMs: 1_000 });
      expect(value).toMatchObject({ status: "timeout" });
      expect(calls).toBe(1 + testLimits.calls);
    });

    test("keys of arguments that mean something to objects are plain data", async () => {
      const text = '{"constructor": {"prototype": {"polluted": 1}}, "toString": 2}';
      const { value } = await run(code.parsed(text), { tools: [echo] });
      expect(value).toMatchObject({ status: "ok" });
      expect(JSON.parse(String(Object(value).result))).toEqual(JSON.parse(text));
      expect(Object.prototype).not.toHaveProperty("polluted");
    });

    test("an answer of ten megabytes is an error, and the code goes on", async () => {
      const large = testTool("large", { run: async () => ({ type: "done", value: "x".repeat(10_000_000) }) });
      const { value } = await run(code.caught(["large", "missing"]), { tools: [large] });
      expect(value).toMatchObject({
        status: "ok",
        result: [
          ["tool.too_large", expect.stringMatching(/^tool\.too_large: The answer of large has more than /), true],
          ["tool.unknown", expect.any(String), true],
        ],
      });
    });
  });
}

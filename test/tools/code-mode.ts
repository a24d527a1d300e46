import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Engine, ExecLimits, Language } from "../../src/sandbox/engine.ts";
import { fromZod } from "../../src/tools/schema.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { testTool, valueOf } from "../support/door.ts";
import { openCodeDoor } from "./code-door.ts";

/** The same small programs in a language. Each is a whole program; what its result must be stands beside it. */
export interface CodeMode {
  readonly language: Language;
  /** The answer of the tool of this name to these arguments, called as an attribute of `tools`. */
  readonly call: (name: string, args: string) => string;
  /** The answer of a tool whose name is no identifier, called by `tools[name]` and by `tools.call`: both, in a list. */
  readonly byName: (name: string) => string;
  /** For each name: `[code, message, whether it is a ToolError]` of what calling it by its name throws. */
  readonly caught: (names: readonly string[]) => string;
  /** So many calls of `slow` at once: how many came to a value, and the distinct codes of the others. Missing: each takes a process. */
  readonly atOnce?: (calls: number) => string;
  /** Calls `look` again and again, whatever it throws. Missing: each takes a process. */
  readonly forever?: string;
  /** Calls `echo` with the JSON text that `args` is, parsed by the language itself; result: its answer. */
  readonly parsed: (args: string) => string;
  /** Calls `look` and keeps its answer; result: which of these patterns stand in what the code can read of itself and around it. */
  readonly finds: (patterns: readonly string[]) => string;
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

/** What code mode promises in every engine, through the real door. */
export function describeCodeMode(name: string, openEngine: () => Engine, code: CodeMode): void {
  const { language } = code;
  describe(`code mode in ${name}`, () => {
    let engine: Engine;
    beforeAll(() => {
      engine = openEngine();
    });
    afterAll(() => engine[Symbol.asyncDispose]());

    type Over = {
      readonly tools?: readonly Tool[];
      readonly limits?: Partial<ExecLimits>;
      readonly timeoutMs?: number;
    };
    const run = async (program: string, { tools = [], limits = {}, timeoutMs }: Over = {}) => {
      await using capstan = await openCodeDoor([engine], { others: tools, limits });
      const { outcome } = await capstan.run(program, { language, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
      const used = (await capstan.store.used([capstan.grant.id])).get(capstan.grant.id);
      return { value: valueOf(outcome), calls: used?.calls, faults: capstan.faults };
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

    const { atOnce, forever = "" } = code;
    test.skipIf(atOnce === undefined)("calls at once are bounded, and end with the quota", async () => {
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
      const { value, calls } = await run(atOnce?.(language === "python" ? 2_000 : 10_000) ?? "", {
        tools: [slow],
        limits: { calls: 40 },
      });
      expect(value).toMatchObject({ status: "ok", result: [40, ["budget.calls"]] });
      expect(most).toBe(16);
      expect(calls).toBe(41);
    });

    test.skipIf(code.forever === undefined)("who never gives up after the quota is timed out", async () => {
      const { value, calls } = await run(forever, { tools: [testTool("look")], timeoutMs: 1_000 });
      expect(value).toMatchObject({ status: "timeout" });
      expect(calls).toBe(1 + testLimits.calls);
    });

    test("keys of arguments that mean something to objects are plain data", async () => {
      const text = '{"constructor": {"prototype": {"polluted": 1}}, "toString": 2}';
      const { value } = await run(code.parsed(text), { tools: [echo] });
      expect(value).toMatchObject({ status: "ok" });
      const { result }: { readonly result: unknown } = Object(value);
      expect(typeof result === "string" ? JSON.parse(result) : result).toEqual(JSON.parse(text));
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

    test("no id of a grant or of a call enters the sandbox, and nothing else that a right could be had by", async () => {
      const planted = testTool("look", { run: async () => ({ type: "done", value: "planted_0123456789abcdef" }) });
      const patterns = ["planted_[0-9a-f]{16}", "grant_[0-9a-f]{16}", "call_[0-9a-f]{16}", "writer_[0-9a-f]{16}"];
      const { value } = await run(code.finds(patterns), { tools: [planted], timeoutMs: 10_000 });
      expect(value).toMatchObject({ status: "ok", result: patterns.slice(0, 1) });
    });
  });
}

const text = (value: unknown): string => JSON.stringify(value);

/** For every engine that speaks JavaScript. */
export const scriptCodeMode: CodeMode = {
  language: "javascript",
  call: (name, args) => `await tools.${name}(${args})`,
  byName: (name) => `[await tools[${text(name)}]({}), await tools.call(${text(name)}, {})]`,
  caught: (names) => `const told = [];
    for (const name of ${text(names)}) {
      try { told.push(await tools.call(name, {})) } catch (error) { told.push([error.code, error.message, error instanceof ToolError]) }
    } told`,
  atOnce: (calls) => `const ends = await Promise.allSettled(Array.from({ length: ${calls} }, () => tools.slow({})));
    const failed = ends.filter(({ status }) => status === "rejected");
    [ends.length - failed.length, [...new Set(failed.map(({ reason }) => reason.code))]]`,
  forever: "for (;;) try { await tools.look({}) } catch {}",
  parsed: (args) => `await tools.echo(JSON.parse(${text(args)}))`,
  finds: (patterns) => `globalThis.kept = await tools.look({});
    const seen = new Set();
    const texts = [];
    const walk = (value, depth) => {
      if (typeof value === "string") texts.push(value);
      if (depth === 0 || value === null || !["object", "function"].includes(typeof value) || seen.has(value)) return;
      seen.add(value);
      if (typeof value === "function") texts.push(Function.prototype.toString.call(value));
      for (const key of Reflect.ownKeys(value)) {
        texts.push(String(key));
        try { walk(Reflect.get(value, key), depth - 1) } catch {}
      }
      walk(Object.getPrototypeOf(value), depth - 1);
    };
    walk(globalThis, 6);
    const all = texts.join("\\n");
    ${text(patterns)}.filter((pattern) => new RegExp(pattern).test(all))`,
};

/** For every engine that speaks Python: what it reads of itself is all of its memory. */
export const pythonCodeMode: CodeMode = {
  language: "python",
  call: (name, args) => `tools.${name}(**${args})`,
  byName: (name) => `[tools[${text(name)}](), tools.call(${text(name)})]`,
  caught: (names) => `
told = []
for name in ${text(names)}:
    try: told.append(await tools.acall(name))
    except Exception as error: told.append([error.code, str(error), isinstance(error, ToolError)])
told`,
  atOnce: (calls) => `
import asyncio
ends = await asyncio.gather(*[tools.acall("slow") for _ in range(${calls})], return_exceptions=True)
failed = [end for end in ends if isinstance(end, ToolError)]
[len(ends) - len(failed), sorted({end.code for end in failed})]`,
  forever: `
while True:
    try: tools.look()
    except ToolError: pass`,
  parsed: (args) => `
import json
tools.echo(json.loads(${text(args)}))`,
  finds: (patterns) => `
import os, re, sys
kept = tools.look()
def memory():
    yield repr([dict(os.environ), sys.argv]).encode()
    try:
        import pyodide_js
        heap = pyodide_js._module.HEAPU8
        for at in range(0, heap.length, 1 << 20): yield heap.subarray(at, at + (1 << 20) + 64).to_bytes()
    except ImportError:
        places = [line.split() for line in open("/proc/self/maps")]
        with open("/proc/self/mem", "rb", 0) as file:
            for place, *_ in (one for one in places if one[1].startswith("rw")):
                first, last = (int(part, 16) for part in place.split("-"))
                file.seek(first)
                yield file.read(last - first)
found = set()
for part in memory():
    found.update(pattern for pattern in ${text(patterns)} if re.search(pattern.encode(), part))
sorted(found)`,
};

/** A word of bash that stands for the text. */
const word = (value: string): string => `'${value.replaceAll("'", `'\\''`)}'`;

/** For every engine that runs bash. */
export const bashCodeMode: CodeMode = {
  language: "bash",
  call: (name, args) => `result=$(tools ${name} ${word(args)})`,
  byName: (name) => `result="[$(tools ${name}), $(tools ${name} '{}')]"`,
  caught: (names) => `
told=()
for name in ${names.map(word).join(" ")}; do told+=("$(tools "$name" 2>&1 >/dev/null)"); done
result=$(python3 -c 'import json, sys; print(json.dumps([[one.split(":")[0], one, True] for one in sys.argv[1:]]))' "\${told[@]}")`,
  parsed: (args) => `result=$(tools echo ${word(args)})`,
  finds: (patterns) => `
kept=$(tools look)
all=$(set; env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n')
found=""
for pattern in ${patterns.map(word).join(" ")}; do
  if grep -Eq "$pattern" <<<"$all"; then found+="\${found:+, }\\"$pattern\\""; fi
done
result="[$found]"`,
};

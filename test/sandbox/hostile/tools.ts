import { expect } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import type { Json } from "../../../src/core/json.ts";
import type { Engine, ExecRequest } from "../../../src/sandbox/engine.ts";
import { valueOf } from "../../support/door.ts";
import { openCodeDoor } from "../../tools/code-door.ts";
import { echo, type HostileCase, is, type Variant } from "./case.ts";

const mebibyte = 1024 * 1024;
const unknown = (name: string): Promise<Json> =>
  Promise.reject(new CapstanError("tool.unknown", `There is no tool ${name}.`));

const patient = { wallMs: 60_000, cpuMs: 60_000 };

/** Runs code that calls `execute_code`, in the same engine and through the door. */
const nest =
  (engine: Engine): NonNullable<ExecRequest["onCall"]> =>
  async (name, args, signal) => {
    await using capstan = await openCodeDoor([engine], { limits: patient });
    const { outcome } = await capstan.call(name, args, { signal, by: { depth: 1 } });
    const { status, result } = Object(valueOf(outcome));
    return { status, result };
  };

/** Code that finds itself in a file and runs that. It answers how often it could, and what it was refused for at last. */
const again = (code: string): Variant => ({ code, request: { files: [{ path: "self", bytes: Buffer.from(code) }] } });

/** Class K: code mode. */
export const tools: readonly HostileCase[] = [
  {
    id: "K98",
    title: "names that every object has are names of tools, no more",
    status: "ok",
    request: { onCall: unknown },
    in: {
      javascript: `const told = [];
        for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "__defineGetter__"]) {
          try { await tools[name]({}) } catch (error) { told.push(error.message.split(":")[0]) }
        } told`,
      python: `
told = []
for name in ("__proto__", "constructor", "toString", "hasOwnProperty", "__class__"):
    try: await tools.acall(name) if name.startswith("_") else getattr(tools, name)()
    except ToolError as error: told.append(error.code)
told`,
    },
    check: is(Array.from({ length: 5 }, () => "tool.unknown")),
  },
  {
    id: "K100",
    title: "code that runs itself, each time one deeper",
    status: "ok",
    limits: patient,
    host: nest,
    in: {
      javascript: again(`const self = files.read("self");
        try {
          const { result } = await tools.execute_code({ language: "javascript", code: self, files: [{ path: "self", text: self }] });
          [result[0] + 1, result[1]]
        } catch (error) { [0, error.code] }`),
      python: again(`
self = open("/in/self").read()
try:
    deeper = tools.execute_code(language="python", code=self, files=[{"path": "self", "text": self}])["result"]
    result = [deeper[0] + 1, deeper[1]]
except ToolError as error: result = [0, error.code]`),
      bash: again(`
args=$(python3 -c 'import json; self = open("/in/self").read(); print(json.dumps({"language": "bash", "code": self, "files": [{"path": "self", "text": self}]}))')
if said=$(tools execute_code "$args" 2>&1); then
  result=$(python3 -c 'import json, sys; depth, code = json.loads(sys.argv[1])["result"]; print(json.dumps([depth + 1, code]))' "$said")
else
  result="[0, \\"\${said%%:*}\\"]"
fi`),
    },
    check: is([4, "budget.depth"]),
  },
  {
    id: "K101",
    title: "thousands of calls at once are refused past their limit",
    status: "ok",
    request: { onCall: echo },
    in: {
      javascript: {
        code: `const ends = await Promise.allSettled(Array.from({ length: 10_000 }, (_, i) => tools.echo({ i })));
        [ends.filter(({ status }) => status === "fulfilled").length, ends.filter(({ reason }) => /^budget.calls: /.test(reason?.message)).length]`,
        check: is([20, 9_980]),
      },
      python: {
        code: `
import asyncio
outcomes = await asyncio.gather(*[tools.acall("echo", {"x": 1}) for _ in range(3_000)], return_exceptions=True)
[sum(1 for one in outcomes if one == {"x": 1}), sum(1 for one in outcomes if isinstance(one, ToolError) and one.code == "budget.calls")]`,
        check: is([20, 2_980]),
      },
    },
  },
  {
    id: "K101b",
    title: "arguments that JSON can't hold, or too many, don't leave",
    status: "ok",
    request: { onCall: () => Promise.resolve("REACHED") },
    in: {
      javascript: `const told = [];
        const cycle = {}; cycle.self = cycle;
        for (const args of [{ x: NaN }, { x: 1n }, cycle, { x: () => 1 }, { x: "x".repeat(2e6) }]) {
          try { await tools.echo(args); told.push("REACHED") } catch (error) { told.push(error.message.split(":")[0]) }
        } told`,
      python: `
told, cycle = [], {}
cycle["self"] = cycle
for args in ({"x": float("nan")}, {"x": {1}}, cycle, {"x": len}, {"x": "x" * 2_000_000}):
    try: told.append(tools.echo(args))
    except Exception as error: told.append("tool.bad_arguments")
told`,
    },
    check: is(Array.from({ length: 5 }, () => "tool.bad_arguments")),
  },
  {
    id: "K101c",
    title: "an answer that is too large",
    status: "ok",
    request: { onCall: () => Promise.resolve("x".repeat(2 * mebibyte)) },
    in: {
      javascript: `let text = "REACHED"; try { await tools.big({}) } catch (error) { text = String(error) } text`,
      python: `
text = "REACHED"
try: tools.big()
except ToolError as error: text = str(error)
text`,
    },
    check: ({ result }) => expect(result).toContain("tool.too_large"),
  },
  {
    id: "K103",
    title: "retrying a refusal for ever",
    status: "timeout",
    limits: { wallMs: 500 },
    request: { onCall: echo },
    in: {
      javascript: "for (;;) try { await tools.echo({}) } catch {}",
      python: `
while True:
    try: tools.echo()
    except ToolError: pass`,
    },
  },
];

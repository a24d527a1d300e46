import { expect } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import type { Json } from "../../../src/core/json.ts";
import { echo, type HostileCase, is } from "./case.ts";

const mebibyte = 1024 * 1024;
const unknown = (name: string): Promise<Json> =>
  Promise.reject(new CapstanError("tool.unknown", `There is no tool ${name}.`));

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

import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { openPython } from "../sandbox/python.ts";
import { type CodeMode, describeCodeMode } from "./code-mode.ts";

const text = (value: unknown): string => JSON.stringify(value);

const script: CodeMode = {
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
};

const python: CodeMode = {
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
};

describeCodeMode("QuickJS", () => openQuickjsEngine(), script);
describeCodeMode("Pyodide", () => openPython(), python);

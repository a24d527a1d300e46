import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { z } from "zod";
import { openApp } from "../../src/app.ts";
import { toDeclarations } from "../../src/tools/discovery/declaration.ts";
import { fromZod } from "../../src/tools/schema.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { defineTool } from "../../src/tools/tool.ts";
import { runIn } from "../sandbox/hostile.ts";
import { openPython } from "../sandbox/python.ts";
import { tempFolder } from "../support/temp.ts";

const python = openPython();
afterAll(() => python[Symbol.asyncDispose]());

const Place = z.strictObject({ street: z.string(), "house-number": z.int().optional() });
const Order = z.strictObject({
  items: z.array(z.strictObject({ name: z.string(), sizes: z.array(z.union([z.int(), z.enum(["S", "M"])])) })),
  to: z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("post"), place: Place }),
    z.strictObject({ type: z.literal("shop"), near: z.tuple([z.number(), z.number()]).nullable() }),
  ]),
  labels: z.record(z.string(), z.array(z.string())).optional(),
});

/** A tool whose arguments nest, in every way that schemas have. */
const nested = defineTool({
  name: "order-all",
  title: "Order",
  description: "Orders things.",
  input: fromZod(Order),
  output: fromZod(z.strictObject({ total: z.strictObject({ cents: z.int() }) })),
  hints: { readOnly: false, destructive: false, idempotent: false, openWorld: false },
  effect: "once",
  needs: () => [],
  run: async () => ({ type: "done", value: { total: { cents: 1 } } }),
});

async function everyTool(): Promise<readonly Tool[]> {
  await using home = await tempFolder();
  await using app = await openApp({ home: home.path });
  return [...app.toolbox.tools, nested];
}

test("the declarations of every tool compile, and hold calls to their schemas", async () => {
  await using folder = await tempFolder();
  const tools = await everyTool();
  expect(tools.length).toBeGreaterThan(10);
  const lawful: Readonly<Record<string, string>> = {
    calculator: 'const text: string = (await tools.calculator({ expression: "1+1" })).result;',
    kg_add_facts: 'await tools.kg_add_facts({ facts: [{ subject: "a", relation: "b", value: "c" }] });',
    "order-all": `const cents: number = (await tools["order-all"]({
      items: [{ name: "a", sizes: [1, "S"] }], to: { type: "shop", near: [1, 2] }, labels: { a: ["b"] },
    })).total.cents;`,
  };
  const wrong: Readonly<Record<string, string>> = {
    calculator: "await tools.calculator({});",
    kg_add_facts: "await tools.kg_add_facts({ facts: [{ subject: 1 }] });",
    "order-all": 'await tools["order-all"]({ items: [{ name: "a", sizes: ["XL"] }], to: { type: "post" } });',
  };
  await mkdir(join(folder.path, "src"));
  await writeFile(join(folder.path, "package.json"), '{"type":"module"}');
  const compilerOptions = { noEmit: true, strict: true, target: "esnext", module: "nodenext", types: [] };
  await writeFile(join(folder.path, "tsconfig.json"), JSON.stringify({ compilerOptions }));
  for (const tool of tools) {
    const { typescript } = toDeclarations(tool);
    const [fits = "", fails] = [lawful[tool.name], wrong[tool.name]];
    // A line that must not compile, and an error where it does.
    const refused = fails === undefined ? "" : `// @ts-expect-error\n${fails}`;
    await writeFile(join(folder.path, "src", `${tool.name}.ts`), `${typescript}\n${fits}\n${refused}\nexport {};\n`);
  }
  const compiler = join(import.meta.dirname, "../../node_modules/typescript/lib/tsc.js");
  const compiled = await promisify(execFile)(process.execPath, [compiler, "-p", folder.path], { timeout: 60_000 }).then(
    ({ stdout }) => stdout,
    (failed: { readonly stdout: string }) => failed.stdout,
  );
  expect(compiled).toBe("");
});

test("the declarations of every tool are good Python", async () => {
  const sources = (await everyTool()).map((tool) => toDeclarations(tool).python);
  const code = `
import ast, json
kinds = set()
for source in json.load(open("/in/sources.json")):
    exec(compile(ast.parse(source), "tool.py", "exec"), {})
    kinds.update(type(node).__name__ for node in ast.parse(source).body)
sorted(kinds)`;
  const files = [{ path: "sources.json", bytes: Buffer.from(JSON.stringify(sources)) }];
  const { status, error, result } = await runIn(python, "python", code, { files });
  expect({ status, error, result }).toEqual({ status: "ok", result: ["Assign", "FunctionDef", "ImportFrom"] });
});

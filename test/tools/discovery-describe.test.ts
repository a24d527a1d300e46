import { stripTypeScriptTypes } from "node:module";
import { anything, assert, constantFrom, dictionary, letrec, oneof, property, record, string, array } from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { JsonSchema } from "../../src/core/json.ts";
import { isJsonObject } from "../../src/core/json.ts";
import { calculatorTool } from "../../src/tools/calculator.ts";
import { describeToolTool } from "../../src/tools/describe-tool.ts";
import { toDeclarations } from "../../src/tools/discovery/declaration.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { openPython } from "../sandbox/python.ts";
import { testLimits } from "../sandbox/hostile.ts";
import { callTool } from "../support/call-context.ts";
import { plainCases } from "../support/cases.ts";
import { testTool } from "../support/door.ts";
import { serverTool } from "./discovery-tools.ts";

const python = openPython();
afterAll(() => python[Symbol.asyncDispose]());

const object = (properties: JsonSchema, more: JsonSchema = {}): JsonSchema => ({ type: "object", properties, ...more });

/** A tool of another server with these schemas. */
const toTool = (inputSchema: JsonSchema, over: Partial<Tool> = {}): Tool => ({
  ...serverTool("s", "t", "Does."),
  inputSchema,
  ...over,
});
const declare = (inputSchema: JsonSchema, over: Partial<Tool> = {}) => toDeclarations(toTool(inputSchema, over));
/** The type that one argument is declared with, on one line. */
const typeOf = (schema: JsonSchema): string => {
  const { typescript } = declare(object({ a: schema }, { required: ["a"] }));
  return /\n {4}a: (.*);\n {2}\}\): Promise<unknown>;/s.exec(typescript)?.[1]?.replace(/\s+/g, " ") ?? typescript;
};
const pythonTypeOf = (schema: JsonSchema): string => {
  const declared = declare(object({ a: schema }, { required: ["a"] })).python;
  return /\n {4}"a": (.*),\n/.exec(declared)?.[1] ?? declared;
};

describe("toDeclarations()", () => {
  test("declares a tool with its arguments, their descriptions and its result", () => {
    const input = object(
      { path: { type: "string", description: "Where." }, depth: { type: "integer" }, "max-size": { type: "number" } },
      { required: ["path"] },
    );
    const outputSchema = object({ ok: { type: "boolean" } }, { required: ["ok"] });
    const declared = declare(input, { name: "list", title: "List", description: "Lists a folder.", outputSchema });
    expect(declared.typescript).toBe(`declare const tools: {
  /** List. Lists a folder. */
  list(args: {
    /** Where. */
    path: string;
    depth?: number;
    "max-size"?: number;
  }): Promise<{
    ok: boolean;
  }>;
};`);
    expect(declared.python).toBe(`from typing import Any, Literal, Never, NotRequired, TypedDict, Unpack

ListArgs = TypedDict("ListArgs", {
    # Where.
    "path": str,
    "depth": NotRequired[int],
    "max-size": NotRequired[float],
})

ListResult = TypedDict("ListResult", {
    "ok": bool,
})

def list(**arguments: Unpack[ListArgs]) -> ListResult:
    "List. Lists a folder."
    ...`);
  });

  test.each<[string, JsonSchema, string, string]>([
    ["any value", {}, "unknown", "Any"],
    [
      "an enumeration",
      { enum: ["a", 'b"', 1, null, true] },
      '"a" | "b\\"" | 1 | null | true',
      'Literal["a", "b\\"", 1, None, True]',
    ],
    ["a constant", { const: "x" }, '"x"', 'Literal["x"]'],
    ["a fraction", { enum: [1.5, 2] }, "1.5 | 2", "Literal[2] | float"],
    ["several types", { type: ["string", "null"] }, "string | null", "str | None"],
    ["an array", { type: "array", items: { type: "integer" } }, "number[]", "list[int]"],
    ["an array of alternatives", { items: { type: ["integer", "string"] } }, "(number | string)[]", "list[int | str]"],
    [
      "an exact tuple",
      { prefixItems: [{ type: "string" }, { type: "null" }], items: false, minItems: 2 },
      "[string, null]",
      "list[str | None]",
    ],
    ["an open tuple", { prefixItems: [{ type: "string" }] }, "unknown[]", "list[Any]"],
    [
      "a map",
      { type: "object", additionalProperties: { type: "boolean" } },
      "Record<string, boolean>",
      "dict[str, bool]",
    ],
    ["an open object", { type: "object" }, "Record<string, unknown>", "dict[str, Any]"],
    ["an object in an object", object({ b: object({}) }), "{ b?: {}; }", "STArgs_a"],
    ["alternatives", { anyOf: [{ type: "string" }, { type: "array" }] }, "string | unknown[]", "str | list[Any]"],
    ["one alternative twice", { oneOf: [{ type: "string" }, { type: "string" }] }, "string", "str"],
    ["an alternative that is anything", { anyOf: [{ type: "string" }, {}] }, "unknown", "Any"],
    ["nothing", { not: {}, enum: [] }, "never", "Never"],
    [
      "all of several",
      { allOf: [object({ b: { type: "null" } }, { required: ["b"] }), object({ c: {} })] },
      "{ b: null; c?: unknown; }",
      "STArgs_a",
    ],
    [
      "an object with alternatives",
      object({ b: {} }, { oneOf: [object({ c: { const: 1 } }), object({ d: { const: 2 } })] }),
      "{ b?: unknown; c?: 1; } | { b?: unknown; d?: 2; }",
      "STArgs_a1 | STArgs_a2",
    ],
    [
      "alternatives that only require",
      object({ b: {} }, { anyOf: [{ required: ["b"] }, { required: ["c"] }] }),
      "{ b?: unknown; }",
      "STArgs_a",
    ],
    ["a reference elsewhere", { $ref: "https://elsewhere.example/schema" }, "unknown", "Any"],
    ["a reference to nothing", { $ref: "#/$defs/__proto__" }, "unknown", "Any"],
    ["a reference to itself", { $ref: "#/properties/a" }, "unknown", "Any"],
    ["false", { items: false }, "never[]", "list[Never]"],
  ])("declares %s", (_what, schema, typescript, inPython) => {
    expect(typeOf(schema)).toBe(typescript);
    expect(pythonTypeOf(schema)).toBe(inPython);
  });

  test("follows references, and ends where they come back", () => {
    const tree = object({ name: { type: "string" }, children: { type: "array", items: { $ref: "#/$defs/a~1b" } } });
    const { typescript } = declare(object({ root: { $ref: "#/$defs/a~1b" } }, { $defs: { "a/b": tree } }));
    expect(typescript.replace(/\s+/g, " ")).toContain("root?: { name?: string; children?: unknown[]; };");
  });

  test("leaves an argument object out where nothing in it is required, and takes anything where it is none", () => {
    expect(declare(object({ a: {} })).typescript).toContain("(args?: {");
    expect(declare({}).python).toContain("def s__t(**arguments: Any) -> Any:");
  });

  test("names what is no identifier as it is called", () => {
    const declared = declare(object({}), { name: "2-class" });
    expect(declared.typescript).toContain('  "2-class"(args?: {}): Promise<unknown>;');
    expect(declared.python).toContain('# Call it as getattr(tools, "2-class")(...).\ndef tool_2_class(');
    expect(declare(object({}), { name: "import" }).python).toContain("def tool_import(");
  });

  test("is bounded, whatever the schema is", () => {
    const wide = object(
      Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`f${n}`, { description: "x".repeat(9_000) }])),
    );
    let deep: JsonSchema = {};
    for (let n = 0; n < 3_000; n += 1) deep = { type: "array", items: deep };
    const many = { enum: Array.from({ length: 10_000 }, (_, n) => `value ${n}`) };
    const doubling = {
      ...object({ a: { $ref: "#/$defs/n0" } }),
      $defs: Object.fromEntries(
        Array.from({ length: 40 }, (_, n) => [
          `n${n}`,
          object({ x: { $ref: `#/$defs/n${n + 1}` }, y: { $ref: `#/$defs/n${n + 1}` } }),
        ]),
      ),
    };
    const long = object({ ["k".repeat(10_000)]: {}, ["k".repeat(100)]: { const: "v".repeat(10_000) } });
    for (const schema of [wide, object({ deep }), object({ many }), doubling, long]) {
      const { typescript, python: inPython } = declare(schema, { description: "word ".repeat(100_000) });
      expect(typescript.length).toBeLessThan(80_000);
      expect(inPython.length).toBeLessThan(120_000);
    }
    expect(declare(long).typescript).toContain(`${"k".repeat(100)}?: string;`);
  });
});

/** Texts that would end a comment, a string or a line, or turn its direction, somewhere. */
const hostile = [
  "*/ alert(1) /*",
  "*\u200b/ x",
  '"""\nimport os\n"""',
  '"; evil(); "',
  "\\",
  "line\nbreak\r\nand\u2028\u2029\u0085\v\fx = 1",
  "\u202etxet\u202c",
  "${evil()}`",
  "\0\u{e0041}\ud800",
  "#",
  "//",
];

describe("the declarations of a hostile definition", () => {
  const text = oneof(constantFrom(...hostile), string({ unit: "binary", maxLength: 20 }));
  const { schema: schemas } = letrec((tie) => ({
    schema: oneof(
      { depthSize: "small" },
      record({ type: constantFrom("string", "integer", "null"), description: text }),
      record({ enum: array(oneof(text, anything()), { maxLength: 4 }) }),
      record({
        type: constantFrom("object"),
        properties: dictionary(text, tie("schema"), { maxKeys: 4 }),
        description: text,
      }),
      record({ anyOf: array(tie("schema"), { maxLength: 3 }) }),
      record({ items: tie("schema") }),
      anything(),
    ),
  }));
  const toSchema = (value: unknown): JsonSchema => {
    const json: unknown = JSON.parse(JSON.stringify({ type: "object", properties: { a: value ?? null } }));
    return isJsonObject(json) ? json : {};
  };

  test("hold no statement beside the declaration, in TypeScript", () => {
    assert(
      property(schemas, text, (schema, description) => {
        const { typescript } = declare(toSchema(schema), { description, title: description });
        // The one declaration goes away with all that is in it; a text that got out of its comment would stay, or be no TypeScript.
        expect(stripTypeScriptTypes(typescript).trim()).toBe("");
        expect(typescript).not.toMatch(/[\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
      }),
      { numRuns: plainCases / 5 },
    );
  });

  test("hold no statement beside the declaration, in Python, and are good Python", async () => {
    const tools = hostile.flatMap((part) => [
      toTool(object({ [part]: { description: part, enum: [part] }, b: object({ [part]: {} }) }), { description: part }),
      toTool(object({ a: { const: part } }), { title: part, outputSchema: object({ [part]: { items: object({}) } }) }),
    ]);
    const sources = [...tools, calculatorTool(), testTool("a-b")].map((tool) => toDeclarations(tool).python);
    const code = `
import ast, json
found = []
for source in json.load(open("/in/sources.json")):
    tree = ast.parse(source)
    kinds = [type(node).__name__ for node in tree.body]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    exec(source, {})
    found.append([kinds[0], sorted(set(kinds[1:])), len(functions), [len(f.body) for f in functions], sorted(calls)])
found`;
    const signal = AbortSignal.timeout(110_000);
    await using sandbox = await python.open({ language: "python" }, signal);
    const ran = await sandbox.run(
      {
        language: "python",
        code,
        files: [{ path: "sources.json", bytes: Buffer.from(JSON.stringify(sources)) }],
        limits: { ...testLimits, wallMs: 30_000, cpuMs: 30_000 },
        onCall: () => Promise.reject(new Error("no tools here")),
      },
      signal,
    );
    expect(ran.error).toBeUndefined();
    expect(ran.result).toEqual(sources.map(() => ["ImportFrom", ["Assign", "FunctionDef"], 1, [2], ["TypedDict"]]));
  });
});

describe("describe_tool", () => {
  const tools: readonly Tool[] = [
    calculatorTool(),
    testTool("calendar_add"),
    serverTool("mail", "send_letter", "Sends."),
  ];
  const tool = describeToolTool({ listed: () => tools });

  test("answers the schemas, what the tool may do, and both declarations", async () => {
    const [calculator] = tools;
    const { value } = await callTool(tool, { name: "calculator" });
    expect(value).toMatchObject({
      name: "calculator",
      title: calculator?.title,
      source: "builtin",
      effect: "read",
      hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
      inputSchema: calculator?.inputSchema,
      outputSchema: calculator?.outputSchema,
      typescript: expect.stringContaining("calculator(args: {"),
      python: expect.stringContaining("def calculator(**arguments: Unpack[CalculatorArgs])"),
    });
  });

  test("says where a definition comes from, and takes a tool of another server for the worst", async () => {
    const { value } = await callTool(tool, { name: "mail__send_letter" });
    expect(value).toMatchObject({ source: "mcp:mail", effect: "once" });
  });

  test.each([
    ["calculater", "calculator"],
    ["send a letter", "mail__send_letter"],
    ["xyzzy", "search_tools"],
    ["__proto__", "search_tools"],
  ])("answers for %j, which there is not, the way to what there is", async (name, named) => {
    const answer = await callTool(tool, { name });
    expect(answer).toMatchObject({ isError: true, code: "tool.unknown" });
    expect(JSON.stringify(answer.content)).toContain(named);
  });
});

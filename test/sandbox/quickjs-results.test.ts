import { assert, asyncProperty, jsonValue } from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { slowCases } from "../support/cases.ts";
import { runIn, testLimits } from "./hostile.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const run = (code: string, over?: Parameters<typeof runIn>[3]) => runIn(engine, "javascript", code, over);

const plain: readonly (readonly [code: string, result: Json])[] = [
  ["1 + 1", 2],
  ["", null],
  ["let x = 1", null],
  ["undefined", null],
  ["const x = 5; x * 2; // and that is it", 10],
  ["if (true) { 3 } else { 4 }", 3],
  ["await Promise.resolve(7)", 7],
  ["Promise.resolve(Promise.resolve(7))", 7],
  ["async function main() { await null; return 'done' } main()", "done"],
  ["new Promise((resolve) => setTimeout(() => resolve('later'), 5))", "later"],
  ["({ a: undefined, b: null, c: [[]], d: {} })", { b: null, c: [[]], d: {} }],
  ["Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true }, hidden: { value: 3 } })", { own: 2 }],
  ["class Point { constructor() { this.x = 1 } get y() { return 2 } } new Point()", { x: 1 }],
  ["({ toJSON: () => ({ instead: 1 }) })", { instead: 1 }],
  ["const shared = { x: 1 }; [shared, shared]", [{ x: 1 }, { x: 1 }]],
  ["'\\u2028\\ud83d\\ude00é\\u0000'", "\u2028😀é\0"],
  ["[0.1, 1e21, 5e-324, -1.5, 2 ** 53]", [0.1, 1e21, 5e-324, -1.5, 2 ** 53]],
];

const lossy: readonly (readonly [code: string, result: Json, note: string])[] = [
  ["[NaN, 1 / 0]", [null, null], "$[0]: NaN became null; $[1]: Infinity became null"],
  ["-0", 0, "$: -0 became 0"],
  ["({ big: 2n ** 70n })", { big: "1180591620717411303424" }, "$.big: a BigInt became text"],
  ["[Symbol('s'), Symbol()]", ["s", ""], "$[0]: a symbol became text"],
  ["[() => 1, class {}]", [null, null], "$[0]: a function became null"],
  ["[1, , 3]", [1, null, 3], "$[1]: undefined became null"],
  ["new Map([['a', new Set([2])]])", [["a", [2]]], "$: a Map became a list of pairs; $[0][1]: a Set became a list"],
  ["[new Date(0)]", ["1970-01-01T00:00:00.000Z"], "$[0]: a Date became text"],
  ["[new Date(NaN)]", [null], "$[0]: an invalid Date became null"],
  ["[new Float64Array([0.5])]", [[0.5]], "$[0]: a typed array became a list"],
  ["new Uint8Array([9, 8]).buffer", [9, 8], "$: an ArrayBuffer became a list of bytes"],
  ["/a+/gi", "/a+/", "$: a RegExp became text"],
  ["[new TypeError('no')]", [{ name: "TypeError", message: "no" }], "$[0]: an Error became its name and message"],
  ["const a = { x: {} }; a.x.back = a; a", { x: { back: null } }, "$.x.back: a reference to what holds it became null"],
  ["({ get x() { throw 1 }, y: 2 })", { x: null, y: 2 }, "$.x: what could not be read became null"],
  ["({ toJSON() { throw 1 } })", null, "$: what toJSON failed for became null"],
  ["({ toJSON() { return this }, y: 2 })", { toJSON: null, y: 2 }, "$.toJSON: a function became null"],
  ["[Promise.resolve(1)]", [null], "$[0]: a promise that nothing awaited became null"],
  ["({ ['__proto__']: { x: 1 }, constructor: 2 })", { constructor: 2 }, "$.__proto__: a key __proto__ was left out"],
];

describe("the result of JavaScript", () => {
  test.for(plain)("%s", async ([code, result]) => {
    const ran = await run(code);
    expect(ran).toMatchObject({ status: "ok", result });
    expect(ran.resultNote).toBeUndefined();
  });

  test.for(lossy)("%s is noted", async ([code, result, note]) => {
    expect(await run(code)).toMatchObject({ status: "ok", result, resultNote: note });
  });

  test("what is nested too deep becomes null", async () => {
    const { status, result, resultNote } = await run(
      "let deep = {}; for (let i = 0; i < 1e5; i++) deep = { deep }; deep",
    );
    expect(status).toBe("ok");
    expect(JSON.stringify(result)).toBe(`${'{"deep":'.repeat(100)}null${"}".repeat(100)}`);
    expect(resultNote).toMatch(/^\$….*: what is nested more than 100 deep became null$/);
  });

  test.for([
    "new Array(1e7).fill(0)",
    "new Array(4e9)",
    "'x'.repeat(1e6)",
    "({ ['x'.repeat(1e6)]: 1 })",
    "'\\u0000'.repeat(20_000)",
  ])("%s is too large, which is told", async (code) => {
    const { status, result, error } = await run(code, { limits: { memoryBytes: 256 * 1024 * 1024 } });
    expect({ status, result }).toEqual({ status: "output", result: null });
    expect(error).toContain(`${testLimits.resultBytes} bytes`);
  });

  test("a limit on the result counts bytes, not characters", async () => {
    const limits = { resultBytes: 1_000 };
    expect(await run("'é'.repeat(499)", { limits })).toMatchObject({ status: "ok", result: "é".repeat(499) });
    expect(await run("'é'.repeat(500)", { limits })).toMatchObject({ status: "output" });
  });

  test("a rejection that nothing handles is an error, and one that is handled later is none", async () => {
    const lost = await run("Promise.reject(new TypeError('lost')); await null; 1");
    expect(lost).toMatchObject({ status: "error", result: null });
    expect(lost.error).toMatch(/^Nothing handled the rejection of a promise. TypeError: lost/);
    const handled =
      "const late = Promise.reject(new Error('x')); await new Promise((r) => setTimeout(r, 5)); late.catch(() => {}); 1";
    expect(await run(handled)).toMatchObject({ status: "ok", result: 1 });
  });

  test("what a timer throws ends the run", async () => {
    const { status, error } = await run(
      "setTimeout(() => { throw new RangeError('in a timer') }, 1); await new Promise(() => {})",
    );
    expect(status).toBe("error");
    expect(error).toContain("RangeError: in a timer");
  });

  test("an error shows the place in the code, and nothing of the sandbox", async () => {
    const { error } = await run("const f = () => { throw new Error('here') };\nconsole.log('x');\n[1].map(f)");
    expect(error).toMatch(
      /^Error: here\n {4}at f \(main\.js:1:\d+\)\n {4}at map \(native\)\n {4}at <eval> \(main\.js:3:\d+\)$/,
    );
  });

  test("any JSON comes through unchanged", { timeout: 600_000 }, async () => {
    await assert(
      asyncProperty(jsonValue({ maxDepth: 5 }), async (value) => {
        // JSON text has no -0, and __proto__ is left out.
        const text = JSON.stringify(value).replaceAll("__proto__", "proto");
        const parse = `JSON.parse(${JSON.stringify(text)})`;
        const onCall = (_name: string, args: Json): Promise<Json> => Promise.resolve(args);
        expect((await run(parse)).result).toEqual(JSON.parse(text));
        expect((await run(`(await tools.echo({ value: ${parse} })).value`, { onCall })).result).toEqual(
          JSON.parse(text),
        );
      }),
      { numRuns: slowCases },
    );
  });
});

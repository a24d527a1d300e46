import { expect } from "vitest";
import { describeScripts, echo, is, says } from "./javascript.ts";
import type { ScriptCase } from "./javascript.ts";

const hostObjects: readonly ScriptCase[] = [
  {
    id: "A1",
    title: "the constructor of the global's constructor",
    code: 'this.constructor.constructor("return process")()',
    status: "error",
    check: says(/^ReferenceError: process is not defined/),
  },
  {
    id: "A2",
    title: "the constructor of each function that the host gave",
    code: `const found = [console.log, files.read, files.write, setTimeout, tools.anything, queueMicrotask]
      .map((hostFunction) => typeof hostFunction.constructor("return globalThis")().process);
    const same = console.log.constructor === Function && tools.x.constructor === Function;
    [same, ...found]`,
    status: "ok",
    check: is([true, ...Array.from({ length: 6 }, () => "undefined")]),
  },
  {
    id: "A4",
    title: "a result with an own __proto__",
    code: `JSON.parse('{"__proto__":{"x":1},"constructor":{"prototype":{"y":2}}}')`,
    status: "ok",
    check: ({ result, resultNote }) => {
      expect(result).toEqual({ constructor: { prototype: { y: 2 } } });
      expect(resultNote).toContain("__proto__");
      expect(Reflect.get({}, "x")).toBeUndefined();
      expect(Reflect.get(Object(result), "x")).toBeUndefined();
    },
  },
  {
    id: "A5",
    title: "an exception whose parts throw",
    code: "throw { get stack() { throw 1 }, get message() { throw 2 }, get name() { throw 3 }, toString() { throw 4 } }",
    status: "error",
  },
  {
    id: "A5",
    title: "an Error whose parts throw",
    code: `const error = new Error("x");
    for (const part of ["stack", "message", "name"]) Object.defineProperty(error, part, { get() { throw 1 } });
    throw error`,
    status: "error",
    check: says(/^Error$/),
  },
  {
    id: "A7",
    title: "a proxy as result whose traps throw",
    code: `new Proxy({}, { getPrototypeOf() { throw 1 }, ownKeys() { throw 2 }, get() { throw 3 }, has() { throw 4 } })`,
    status: "ok",
    check: is(null),
  },
  {
    id: "A8",
    title: "primordials overwritten before the result",
    code: `const evil = () => { throw new Error("evil") };
    JSON.stringify = JSON.parse = evil;
    const { defineProperty, ownKeys } = Reflect;
    const types = [Array, String, Function, Promise, Map, Set, Number, RegExp, Symbol, Object];
    for (let t = 0; t < types.length; t++) {
      const names = ownKeys(types[t].prototype);
      for (let n = 0; n < names.length; n++) if (names[n] !== "constructor") defineProperty(types[t].prototype, names[n], { get: evil, set: evil, __proto__: null });
    }
    const names = ["0", "1", "length", "toJSON", "get", "set", "then"];
    for (let n = 0; n < names.length; n++) defineProperty(Object.prototype, names[n], { get: () => undefined, set: evil, __proto__: null });
    globalThis.Object = globalThis.Array = globalThis.String = globalThis.Promise = globalThis.Reflect = evil;
    console.log("printed", [1], new Error("printed too"));
    files.write("a.txt", "b");
    const called = await tools.echo({ list: [1, "two"], deep: { x: 1.5 } });
    ({ called, lossy: [NaN, 1n, new Date(0)] })`,
    status: "ok",
    request: { onCall: echo },
    check: ({ result, stdout, resultNote, artifacts }) => {
      expect(result).toEqual({
        called: { list: [1, "two"], deep: { x: 1.5 } },
        lossy: [null, "1", "1970-01-01T00:00:00.000Z"],
      });
      expect(stdout).toMatch(/^printed \[1\] Error: printed too\n/);
      expect(resultNote).toBe(
        "$.lossy[0]: NaN became null; $.lossy[1]: a BigInt became text; $.lossy[2]: a Date became text",
      );
      expect(artifacts).toHaveLength(1);
    },
  },
  {
    id: "A8",
    title: "a formatter of traces that takes the functions on the stack",
    code: `const stolen = [];
    Error.prepareStackTrace = (_, sites) => { stolen.push(...sites.map((site) => site.getFunction())); return "" };
    const thief = { toJSON() { try { null.x } catch (error) { String(error.stack) } return 1 } };
    try { await tools.echo(thief) } catch {}
    console.log(thief);
    stolen.filter((taken) => typeof taken === "function").length`,
    status: "ok",
    request: { onCall: echo },
    check: is(0),
  },
  {
    id: "A10",
    title: "the constructor of what a refused call throws",
    code: `let found; try { await tools.fail() } catch (error) {
      found = [error.constructor === ToolError && error instanceof Error, typeof error.constructor.constructor("return globalThis")().process, error.stack.includes("file:")]
    } found`,
    status: "ok",
    request: { onCall: () => Promise.reject(new Error("from the host")) },
    check: is([true, "undefined", false]),
  },
  { id: "A11", title: "import of a module", code: 'await import("node:fs")', status: "error" },
  {
    id: "A11",
    title: "require and process.binding",
    code: "[typeof require, typeof process, typeof module, typeof std, typeof os, typeof print, typeof scriptArgs]",
    status: "ok",
    check: is(Array.from({ length: 7 }, () => "undefined")),
  },
];

const filesAndNetwork: readonly ScriptCase[] = [
  {
    id: "B23",
    title: "the host's files by path",
    code: (canaries) => `const texts = [];
    for (const path of [${JSON.stringify(canaries.file)}, "../".repeat(12) + ${JSON.stringify(canaries.file.slice(1))}, "/etc/passwd"]) {
      try { texts.push(files.read(path)) } catch (error) { texts.push("denied") }
    } texts`,
    status: "ok",
    check: is(["denied", "denied", "denied"]),
  },
  {
    id: "B25",
    title: "names of files that lead elsewhere",
    code: (
      canaries,
    ) => `const names = ["../../evil", "a\\0b", "CON", "x".repeat(300), "a\\nb", "", ".", "a/../b", "C:\\\\x", "\\ud800",
      ${JSON.stringify(canaries.absent)}];
    names.filter((name) => { try { files.write(name, "x"); return true } catch { return false } })`,
    status: "ok",
    check: ({ result, artifacts }) => {
      expect(result).toEqual([]);
      expect(artifacts).toEqual([]);
    },
  },
  {
    id: "B28",
    title: "files beyond their size and number",
    code: `const refused = [];
    for (let i = 0; i < 50; i++) try { files.write("f" + i, "x".repeat(300_000)) } catch (error) { refused.push(error.message) }
    try { files.write("big", new Uint8Array(50_000_000)) } catch (error) { refused.push(error.message) }
    refused.length`,
    status: "ok",
    check: ({ result, artifacts }) => {
      expect(result).toBe(48);
      expect(artifacts.map(({ path }) => path)).toEqual(["f0", "f1", "f2"]);
    },
  },
  {
    id: "B34",
    title: "writing over an input",
    code: 'files.write("in.txt", "changed"); files.read("in.txt")',
    status: "ok",
    request: { files: [{ path: "in.txt", bytes: Buffer.from("original") }] },
    check: is("changed"),
  },
  {
    id: "C35",
    title: "the environment",
    code: "[typeof process, Object.getOwnPropertyNames(globalThis).filter((name) => /env|canary|process/i.test(name))]",
    status: "ok",
    check: is(["undefined", []]),
  },
  {
    id: "D44",
    title: "a network",
    code: (
      canaries,
    ) => `const found = ["fetch", "WebSocket", "XMLHttpRequest", "EventSource", "navigator", "Worker", "WebAssembly"]
      .filter((name) => typeof globalThis[name] !== "undefined");
    try { await import("http://127.0.0.1:${canaries.port}/x.js"); found.push("import") } catch {}
    found`,
    status: "ok",
    check: is([]),
  },
];

describeScripts("what code reaches", [...hostObjects, ...filesAndNetwork]);

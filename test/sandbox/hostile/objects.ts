import { expect } from "vitest";
import { echo, either, type HostileCase, is, says } from "./case.ts";

/** Class A in JavaScript: host objects, constructors, prototypes. */
export const objects: readonly HostileCase[] = [
  {
    id: "A1",
    title: "the constructor of the global's constructor",
    in: {
      javascript: {
        code: 'this.constructor.constructor("return process")()',
        check: says(/^ReferenceError: process is not defined/),
        native: either,
      },
    },
  },
  {
    id: "A1b",
    title: "what has no meaning without a compiler",
    in: { typescript: { code: "enum Color { Red } Color.Red", check: says(/^SyntaxError: .*enum/s) } },
  },
  {
    id: "A2",
    title: "the constructor of each function that the host gave",
    status: "ok",
    in: {
      javascript: {
        code: `const found = [console.log, files.read, files.write, setTimeout, tools.anything, queueMicrotask]
          .map((hostFunction) => typeof hostFunction.constructor("return globalThis")().process);
        const same = console.log.constructor === Function && tools.x.constructor === Function;
        [same, ...found]`,
        check: is([true, ...Array.from({ length: 6 }, () => "undefined")]),
        native: null,
      },
    },
  },
  {
    id: "A4",
    title: "a result with an own __proto__",
    status: "ok",
    in: {
      javascript: `JSON.parse('{"__proto__":{"x":1},"constructor":{"prototype":{"y":2}}}')`,
      python: `{"__proto__": {"x": 1}, "constructor": {"prototype": {"y": 2}}}`,
    },
    check: ({ result }) => {
      expect(result).toMatchObject({ constructor: { prototype: { y: 2 } } });
      expect(Reflect.get({}, "x")).toBeUndefined();
      expect(Reflect.get(Object(result), "x")).toBeUndefined();
    },
  },
  {
    id: "A5",
    title: "an exception whose parts throw",
    in: {
      javascript:
        "throw { get stack() { throw 1 }, get message() { throw 2 }, get name() { throw 3 }, toString() { throw 4 } }",
      python: `
class Evil(Exception):
    def __str__(self): raise ValueError
    __repr__ = __str__
raise Evil()`,
    },
  },
  {
    id: "A5b",
    title: "an Error whose parts throw",
    in: {
      javascript: {
        code: `const error = new Error("x");
        for (const part of ["stack", "message", "name"]) Object.defineProperty(error, part, { get() { throw 1 } });
        throw error`,
        check: says(/^Error$/),
        native: { status: "error", check: () => undefined },
      },
    },
  },
  {
    id: "A7",
    title: "a result whose traps throw",
    status: "ok",
    in: {
      javascript: {
        code: `new Proxy({}, { getPrototypeOf() { throw 1 }, ownKeys() { throw 2 }, get() { throw 3 }, has() { throw 4 } })`,
        check: is(null),
        native: either,
      },
      python: {
        code: `
class Evil:
    def __getattribute__(self, name): raise ValueError
Evil()`,
        ...either,
      },
    },
  },
  {
    id: "A8",
    title: "what the result is made with, overwritten",
    status: "ok",
    request: { onCall: echo },
    in: {
      javascript: {
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
        // Node itself is made of the same built-ins: there the run may end, but never with another result.
        native: {
          status: ["ok", "error", "crashed", "timeout"],
          limits: { wallMs: 2_000 },
          check: ({ status, result }) =>
            expect(result).toEqual(
              status === "ok"
                ? {
                    called: { list: [1, "two"], deep: { x: 1.5 } },
                    lossy: [null, "1", "1970-01-01T00:00:00.000Z"],
                  }
                : null,
            ),
        },
      },
      python: {
        code: `
import builtins, json, sys
builtins.isinstance = builtins.repr = builtins.len = None
json.dumps = json.loads = json.encoder.encode_basestring_ascii = None
sys.modules["json"] = None
{"a": [1, {2}]}`,
        check: is({ a: [1, [2]] }),
      },
    },
  },
  {
    id: "A8b",
    title: "a formatter of traces that takes the functions on the stack",
    status: "ok",
    request: { onCall: echo },
    in: {
      javascript: {
        code: `const stolen = [];
        Error.prepareStackTrace = (_, sites) => { stolen.push(...sites.map((site) => site.getFunction())); return "" };
        const thief = { toJSON() { try { null.x } catch (error) { String(error.stack) } return 1 } };
        try { await tools.echo(thief) } catch {}
        console.log(thief);
        stolen.filter((taken) => typeof taken === "function").length`,
        check: is(0),
        native: either,
      },
    },
  },
  {
    id: "A10",
    title: "the constructor of what a refused call throws",
    status: "ok",
    request: { onCall: () => Promise.reject(new Error("from the host")) },
    in: {
      javascript: {
        code: `let found; try { await tools.fail() } catch (error) {
          found = [error instanceof Error, typeof error.constructor.constructor("return globalThis")().process, error.stack.includes("from the host")]
        } found`,
        check: is([true, "undefined", false]),
        native: { check: ({ result }) => expect(result).toEqual([true, expect.any(String), false]) },
      },
      python: {
        code: `
try: tools.fail()
except ToolError as error: found = [error.code, "from the host" in repr(vars(error)), error.__cause__, error.__context__]
found`,
        check: is(["core.internal", false, null, null]),
      },
    },
  },
  {
    id: "A11",
    title: "import of a module of the host",
    in: { javascript: { code: 'await import("node:fs")', native: either } },
  },
  {
    id: "A11b",
    title: "require and process.binding",
    status: "ok",
    in: {
      javascript: {
        code: "[typeof require, typeof process, typeof module, typeof std, typeof os, typeof print, typeof scriptArgs]",
        check: is(Array.from({ length: 7 }, () => "undefined")),
        native: either,
      },
    },
  },
];

import { expect } from "vitest";
import { type HostileCase, is } from "./case.ts";

const beyondJson = {
  javascript: `const loop = []; loop.push(loop);
    let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep];
    ({ loop, deep, big: 2n ** 70n, nan: NaN, infinite: [1 / 0, -1 / 0], zero: -0, symbol: Symbol("s"), set: new Set([1]),
      map: new Map([[1, 2]]), day: new Date(0), bytes: new Uint8Array([9]), call() {}, sparse: [1, , 3],
      get evil() { throw 1 }, json: { toJSON() { return this } }, ["__proto__"]: { polluted: true }, constructor: 1 })`,
  python: `
import datetime, decimal
loop = []
loop.append(loop)
deep = []
for _ in range(100_000): deep = [deep]
{
    "loop": loop, "deep": deep, "big": 2**53, "nan": float("nan"), "infinite": [float("inf"), -float("inf")], "zero": -0.0,
    "set": {1}, "bytes": b"\\x00\\xff", "day": datetime.date(2026, 1, 2), "decimal": decimal.Decimal("1.10"), "function": len,
    (1, 2): "tuple", 3: "number", "__proto__": {"polluted": True}, "constructor": 1, "surrogate": "\\ud800",
}`,
};

/** Class I: results. */
export const results: readonly HostileCase[] = [
  {
    id: "I88",
    title: "values beyond JSON are told",
    status: "ok",
    in: {
      javascript: {
        code: beyondJson.javascript,
        check: ({ result, resultNote }) => {
          expect(result).toMatchObject({
            ...{ loop: [null], big: "1180591620717411303424", nan: null, infinite: [null, null], zero: 0, symbol: "s" },
            ...{
              set: [1],
              map: [[1, 2]],
              day: "1970-01-01T00:00:00.000Z",
              bytes: [9],
              call: null,
              sparse: [1, null, 3],
            },
            ...{ evil: null, constructor: 1 },
          });
          expect(Object(result)).not.toHaveProperty("polluted");
          for (const word of [
            "holds it",
            "nested",
            "BigInt",
            "NaN",
            "Infinity",
            "-0",
            "symbol",
            "Set",
            "Map",
            "Date",
          ]) {
            expect(resultNote).toContain(word);
          }
        },
      },
      python: {
        code: beyondJson.python,
        check: ({ result, resultNote }) => {
          expect(result).toMatchObject({
            loop: ["<cycle>"],
            big: "9007199254740992",
            nan: "nan",
            infinite: ["inf", "-inf"],
            set: [1],
            bytes: "AP8=",
            day: "2026-01-02",
            decimal: "1.10",
            function: "<built-in function len>",
            "(1, 2)": "tuple",
            "3": "number",
            constructor: 1,
          });
          expect(Object.keys(Object(result))).toContain("__proto__");
          expect(Object(result)).not.toHaveProperty("polluted");
          for (const word of [
            "itself",
            "deeper",
            "2**53",
            "NaN",
            "sets",
            "base64",
            "dates",
            "decimals",
            "repr",
            "keys",
          ]) {
            expect(resultNote).toContain(word);
          }
        },
      },
    },
  },
  {
    id: "I88b",
    title: "ten million items are too many",
    status: ["output", "memory"],
    in: { javascript: "new Array(1e7).fill(0)", python: `[0] * 10_000_000` },
  },
  {
    id: "I88c",
    title: "a result larger than its limit is refused, not cut",
    status: "output",
    in: { javascript: '({ ["x".repeat(1e6)]: 1 })', python: `{"x" * 1_000_000: 1}` },
    check: is(null),
  },
  {
    id: "I89",
    title: "what would run where it is unpickled is only told",
    status: "ok",
    in: {
      python: {
        code: `
class Evil:
    def __repr__(self): raise ValueError
    def __reduce__(self): return (print, ("unpickled",))
[Evil(), Evil]`,
        check: ({ result, stdout }) => {
          expect(result).toEqual(["<Evil, whose repr failed>", "<class '__main__.Evil'>"]);
          expect(stdout).toBe("");
        },
      },
    },
  },
  {
    id: "I89b",
    title: "a text of a gigabyte, made by the code while its result is written",
    status: ["memory", "ok", "output"],
    in: {
      python: `
class Evil:
    def __repr__(self): return "x" * (1 << 30)
Evil()`,
      javascript: {
        code: `({ toJSON() { return "x".repeat(2 ** 29 - 24) } })`,
        check: ({ status, result }) => expect(status === "ok" ? result : null).toBeNull(),
      },
    },
  },
  {
    id: "I90",
    title: "lone halves of characters",
    status: "ok",
    in: {
      javascript: `({ ["\\ud800"]: "\\udfff" })`,
      python: `{"\\ud800": "\\udfff"}`,
    },
    check: is({ "\ud800": "\udfff" }),
  },
];

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, deepFreeze, sha256 } from "../../src/core/json.ts";
import { pureCases } from "../support/cases.ts";

describe("canonicalJson()", () => {
  test("is the same text for equal values, whatever the order of their keys", () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .toReversed()
          .map(([key, item]) => [key, shuffled(item)]),
      );
    };
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(shuffled(value))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: pureCases },
    );
  });

  test("keeps __proto__ as data", () => {
    expect(canonicalJson(JSON.parse('{"b":1,"__proto__":{"x":1}}'))).toBe('{"__proto__":{"x":1},"b":1}');
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, () => 1, 10n, Symbol("x")])(
    "refuses %s, which has no JSON",
    (value) => {
      expect(() => canonicalJson({ value })).toThrow(expect.objectContaining({ code: "core.bad_json" }));
    },
  );
});

test("deepFreeze() freezes what is inside", () => {
  const value = deepFreeze({ list: [{ a: 1 }] });
  expect(() => {
    value.list.push({ a: 2 });
  }).toThrow(TypeError);
  expect(Object.isFrozen(value.list[0])).toBe(true);
  expect(value).toEqual({ list: [{ a: 1 }] });
});

test("sha256() is the digest of FIPS 180-4", () => {
  expect(sha256("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseStrictJson } from "../../../src/server/mcp/strict-json.ts";
import { pureCases } from "../../support/cases.ts";

const plainJson = fc.jsonValue({ maxDepth: 5 }).filter((value) => !JSON.stringify(value).includes("__proto__"));

describe("parseStrictJson()", () => {
  test("reads what JSON.parse reads where no key stands twice, however it is spaced and escaped", () => {
    fc.assert(
      fc.property(plainJson, fc.constantFrom(0, 1, "\t", " \t"), (value, indent) => {
        const text = JSON.stringify([[{ id: value }]], null, indent);
        const escaped = JSON.stringify({ id: text }).replace(
          /[a-z]/g,
          (char) => `\\u00${char.charCodeAt(0).toString(16)}`,
        );
        expect(parseStrictJson(text)).toEqual(JSON.parse(text));
        expect(parseStrictJson(JSON.stringify([escaped]))).toEqual([escaped]);
      }),
      { numRuns: pureCases },
    );
  });

  test("refuses a key that stands twice in one object, wherever that object is", () => {
    fc.assert(
      fc.property(plainJson, plainJson, fc.string(), fc.nat(6), (first, second, key, depth) => {
        fc.pre(key !== "__proto__");
        const name = JSON.stringify(key);
        const inner = `{${name}:${JSON.stringify(first)} , ${name} :${JSON.stringify(second)}}`;
        const text = `${'{"a":['.repeat(depth)}${inner}${"]}".repeat(depth)}`;
        // What is generated inside may hold another ambiguity, which is found first.
        expect(() => parseStrictJson(text)).toThrow(/stands twice|differ by case alone/);
      }),
      { numRuns: pureCases },
    );
  });

  test.each([
    ["an escaped twin of a key", String.raw`{"name":"a","\u006eame":"b"}`, /stands twice/],
    ["a key behind a string that ends in backslashes", String.raw`{"x":"\\\\","x":1}`, /stands twice/],
    ["twins by case in the message", '{"method":"a","Method":"b"}', /case alone/],
    ["twins by case in the params", '{"params":{"name":"a","NAME":"b"}}', /case alone/],
    ["__proto__, which object copies lose", '{"params":{"arguments":{"__proto__":{"admin":true}}}}', /__proto__/],
    ["65 levels", `${"[".repeat(65)}${"]".repeat(65)}`, /64 levels/],
    ["a million levels, without running out of stack", "[".repeat(1e6) + "]".repeat(1e6), /64 levels/],
  ])("refuses %s", (_what, text, reason) => {
    expect(() => parseStrictJson(text)).toThrow(reason);
  });

  test.each([
    ["keys and colons inside strings", String.raw`{"a":"\"a\":","b":"a\":\\"}`],
    ["keys of arguments that differ by case, which schemas tell apart", '{"params":{"arguments":{"x":1,"X":2}}}'],
    ["the same key in sibling objects", '[{"a":1},{"a":2}]'],
    ["64 levels", `${"[".repeat(64)}${"]".repeat(64)}`],
  ])("reads %s", (_what, text) => {
    expect(parseStrictJson(text)).toEqual(JSON.parse(text));
  });

  test.each(["", "{", "nul", "{'a':1}", '{"a":1}x', "\u{feff}{}"])(
    "throws SyntaxError for %j, which is no JSON",
    (text) => {
      expect(() => parseStrictJson(text)).toThrow(SyntaxError);
    },
  );
});

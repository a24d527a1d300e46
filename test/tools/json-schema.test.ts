import { describe, expect, test, vi } from "vitest";
import type { JsonSchema } from "../../src/core/json.ts";
import { fromJsonSchema, isJsonSchema } from "../../src/tools/json-schema.ts";

const foreign = (schema: JsonSchema) => fromJsonSchema(schema, { isForeign: true });

describe("isJsonSchema()", () => {
  test.each<[boolean, string, JsonSchema]>([
    [true, "nothing but an object", { type: "object" }],
    [
      true,
      "one of the newest dialect",
      { type: "object", $defs: { a: true }, properties: { a: { $ref: "#/$defs/a" } } },
    ],
    [true, "draft-07 by name", { $schema: "http://json-schema.org/draft-07/schema#", type: "object" }],
    [true, "draft-07 without its name", { type: "object", properties: { a: { items: [{ type: "string" }] } } }],
    [true, "what is of no known keyword", { type: "object", "x-mine": 1 }],
    [false, "a type that does not exist", { type: "objekt" }],
    [false, "another dialect", { $schema: "https://json-schema.org/draft/2019-09/schema", type: "object" }],
    [false, "a reference that leads nowhere", { type: "object", properties: { a: { $ref: "#/$defs/a" } } }],
    [
      false,
      "a reference to another place",
      { type: "object", properties: { a: { $ref: "https://a.example/s.json" } } },
    ],
  ])("answers %s for %s", (is, _what, schema) => {
    expect(isJsonSchema(schema)).toBe(is);
  });
});

describe("fromJsonSchema()", () => {
  test("parses what fits and says what does not", () => {
    const schema = fromJsonSchema({ type: "object", properties: { n: { type: "integer" } }, required: ["n"] });
    expect(schema.parse({ n: 1, more: true })).toEqual({ n: 1, more: true });
    expect(() => schema.parse({ n: "1" })).toThrow("/n: must be integer");
    expect(() => schema.parse([])).toThrow("must be object");
    expect(() => schema.parse("text")).toThrow("expected an object");
  });

  test("leaves unchecked what somebody else could make take for ever", () => {
    const evil = {
      type: "object",
      properties: { a: { type: "string", pattern: "^(a+)+$" }, b: { uniqueItems: true } },
    };
    const value = { a: `${"a".repeat(40)}!`, b: Array.from({ length: 20_000 }, (_, index) => ({ index })) };
    const begun = performance.now();
    expect(foreign(evil).parse(value)).toBe(value);
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(() => foreign(evil).parse({ a: 1 })).toThrow("/a: must be string");
  });

  test("gives up a schema of somebody else that asks each question twice, and goes on with others", () => {
    const levels = Array.from({ length: 40 }, (_, level) => {
      const next = { $ref: `#/$defs/d${level + 1}` };
      return [`d${level}`, { anyOf: [next, next] }] as const;
    });
    const doubling = {
      type: "object",
      $defs: { ...Object.fromEntries(levels), d40: { type: "integer" } },
      properties: { a: { $ref: "#/$defs/d0" } },
    };
    expect(isJsonSchema(doubling)).toBe(true);
    const begun = performance.now();
    expect(() => foreign(doubling).parse({ a: "x" })).toThrow("took more than 1000 ms and was given up");
    expect(performance.now() - begun).toBeLessThan(10_000);
    expect(foreign(doubling).parse({ b: "x" })).toEqual({ b: "x" });
  });

  test("gives up a short schema of somebody else on a very long value", () => {
    const properties = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`p${index}`, true]));
    const many = { allOf: Array.from({ length: 200 }, () => ({ properties: { a: { items: { properties } } } })) };
    const value = { a: Array.from({ length: 1_000_000 }, () => ({ other: 1 })) };
    expect(() => foreign({ type: "object", ...many }).parse(value)).toThrow("was given up");
    expect(foreign({ type: "object", ...many }).parse({ a: [{}] })).toEqual({ a: [{}] });
  });

  test("says of a schema that only leads back to itself that it does", () => {
    const circle = { type: "object", allOf: [{ $ref: "#" }] };
    expect(() => foreign(circle).parse({ a: 1 })).toThrow("leads back to itself");
    const tree = { type: "object", properties: { next: { $ref: "#" }, n: { type: "integer" } } };
    expect(foreign(tree).parse({ next: { next: { n: 1 } } })).toEqual({ next: { next: { n: 1 } } });
  });

  test("compiles a schema of many properties, gives up one of too many, and writes nothing about one that is none", () => {
    const toWide = (count: number) => {
      const names = Array.from({ length: count }, (_, index) => `p${index}`);
      const one = { properties: { n: { type: "integer" } } };
      return { type: "object", properties: Object.fromEntries(names.map((name) => [name, one])) };
    };
    expect(() => foreign(toWide(300)).parse({ p299: { n: "1" } })).toThrow("/p299/n: must be integer");
    expect(() => foreign(toWide(30_000)).parse({})).toThrow("Compiling the tool's schema took more than 1000 ms");
    const written = vi.spyOn(console, "error");
    const deep = { type: "object", properties: { a: { $ref: "#/$defs/none" } } };
    expect(() => foreign(deep).parse({})).toThrow("not a valid JSON Schema");
    expect(written).not.toHaveBeenCalled();
  });

  test.each(["additionalProperties", "unevaluatedProperties"])(
    "lets through what a pattern of names allows beside %s",
    (rest) => {
      const schema = { type: "object", patternProperties: { "^x-": { type: "string" } }, [rest]: false };
      expect(foreign(schema).parse({ "x-a": "text" })).toEqual({ "x-a": "text" });
      expect(foreign({ ...schema, properties: { n: { type: "number" } } }).parse({ n: 1 })).toEqual({ n: 1 });
    },
  );

  test("still refuses unknown names where no pattern speaks of names", () => {
    const schema = { type: "object", properties: { n: {} }, additionalProperties: false };
    expect(() => foreign(schema).parse({ m: 1 })).toThrow("additional properties");
  });

  test("refuses at its first use what is no schema", () => {
    expect(() => foreign({ type: "objekt" }).parse({})).toThrow("not a valid JSON Schema");
  });
});

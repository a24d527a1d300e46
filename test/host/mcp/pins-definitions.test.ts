import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isJsonObject } from "../../../src/core/json.ts";
import type { WireTool } from "../../../src/host/mcp/connection/connection.ts";
import { toPinned } from "../../../src/host/mcp/pins/definition.ts";
import { pureCases } from "../../support/cases.ts";
import { launch, listed, namesOf, openTestPins } from "./pins-support.ts";

const pinOf = (tool: WireTool): string | undefined => toPinned(tool)?.pin;

/** As it comes over the wire: only so is `__proto__` a key like any other. */
const fromWire = (text: string): WireTool => {
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value) || !isJsonObject(value["inputSchema"]) || typeof value["name"] !== "string")
    throw new TypeError(text.slice(0, 80));
  return { ...value, name: value["name"], inputSchema: value["inputSchema"] };
};

const deep = (levels: number): string =>
  `{"name":"deep","inputSchema":${'{"items":'.repeat(levels)}true${"}".repeat(levels)}}`;

describe("a pin", () => {
  const json = fc.jsonValue({ maxDepth: 3 });
  const fields = ["title", "description", "outputSchema", "annotations"] as const;
  const definition = fc.record(
    { title: fc.string(), description: fc.string(), outputSchema: fc.dictionary(fc.string(), json), annotations: json },
    { requiredKeys: [] },
  );
  const tool = fc
    .record({ name: fc.string(), inputSchema: fc.dictionary(fc.string(), json), rest: definition })
    .map(({ name, inputSchema, rest }) => fromWire(JSON.stringify({ ...rest, name, inputSchema })));

  const reversed = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(reversed)
      : isJsonObject(value)
        ? Object.fromEntries(
            Object.entries(value)
              .toReversed()
              .map(([key, item]) => [key, reversed(item)]),
          )
        : value;

  test("does not depend on the order of keys, nor on what it does not cover", () => {
    fc.assert(
      fc.property(tool, json, (given, extra) => {
        const other = fromWire(JSON.stringify(reversed(given)));
        const more = fromWire(JSON.stringify({ icons: extra, ...other, _meta: { extra } }));
        expect(pinOf(more)).toBe(pinOf(given));
      }),
      { numRuns: pureCases / 10 },
    );
  });

  test("is another one for every field that changes, comes or goes", () => {
    fc.assert(
      fc.property(tool, json, fc.constantFrom(...fields), (given, value, field) => {
        fc.pre(JSON.stringify(given[field]) !== JSON.stringify(value) && !Object.is(value, -0));
        const changed = fromWire(JSON.stringify({ ...given, [field]: value }));
        expect(pinOf(changed)).not.toBe(pinOf(given));
        expect(pinOf({ ...given, name: `${given.name}x` })).not.toBe(pinOf(given));
        const inputSchema = { anyOf: [given.inputSchema, field] };
        expect(pinOf({ ...given, inputSchema })).not.toBe(pinOf(given));
      }),
      { numRuns: pureCases / 10 },
    );
  });

  test.each([
    ["__proto__", '{"name":"a","inputSchema":{"__proto__":{"type":"object"}}}', '{"name":"a","inputSchema":{}}'],
    ["text and number", '{"name":"a","inputSchema":{"const":"1"}}', '{"name":"a","inputSchema":{"const":1}}'],
    ["null and nothing", '{"name":"a","inputSchema":{},"title":null}', '{"name":"a","inputSchema":{}}'],
    ["the order of a list", '{"name":"a","inputSchema":{"enum":[1,2]}}', '{"name":"a","inputSchema":{"enum":[2,1]}}'],
    ["look-alikes", '{"name":"a","inputSchema":{},"title":"a"}', '{"name":"a","inputSchema":{},"title":"\\u0430"}'],
  ])("tells apart: %s", (_, one, other) => {
    expect(pinOf(fromWire(one))).not.toBe(pinOf(fromWire(other)));
    expect(pinOf(fromWire(one))).toBeTypeOf("string");
  });
});

describe("a definition", () => {
  test("with __proto__ is kept as it came, changes nobody's prototype, and is seen when it changes", async () => {
    await using opened = await openTestPins();
    const { pins } = opened;
    await pins.load("notes", launch);
    const text = '{"name":"a","inputSchema":{"properties":{"__proto__":{"type":"string"}}}}';
    const first = await pins.observe("notes", [fromWire(text)]);
    const again = await pins.load("notes", launch);
    expect(JSON.stringify(again)).toBe(JSON.stringify(first));
    expect(JSON.stringify(again.tools[0]?.definition)).toContain('"__proto__":{"type":"string"}');
    expect(Object.getPrototypeOf(again.tools[0]?.definition.inputSchema)).toBe(Object.prototype);
    expect(namesOf(await pins.observe("notes", [fromWire(text.replace("string", "number"))]))).toEqual([]);
    expect(await pins.differences()).toHaveLength(1);
  });

  test.each([
    ["10 MB of description", JSON.stringify(listed("deep", { description: "x".repeat(10_000_000) }))],
    ["10 MB of names", JSON.stringify(listed("x".repeat(10_000_000)))],
    ["65 levels", deep(65)],
    ["100,000 levels", deep(100_000)],
    ["a number beyond JSON", '{"name":"deep","inputSchema":{"maximum":1e999}}'],
  ])("with %s is left out, and nothing else with it", async (_, text) => {
    await using opened = await openTestPins();
    const { pins } = opened;
    await pins.load("notes", launch);
    expect(namesOf(await pins.observe("notes", [fromWire(text), listed("lawful")]))).toEqual(["lawful"]);
    // Nor does it get in where something lawful was before.
    await pins.observe("notes", [fromWire('{"name":"deep","inputSchema":{}}')]);
    expect(namesOf(await pins.observe("notes", [fromWire(text), listed("lawful")]))).toEqual(["lawful"]);
    expect(namesOf(await pins.load("notes", launch))).toEqual(["lawful"]);
  });

  test("with 60 levels, or 900,000 characters, is pinned", async () => {
    await using opened = await openTestPins();
    await opened.pins.load("notes", launch);
    const large = listed("large", { description: "\u0001".repeat(900_000) });
    expect(namesOf(await opened.pins.observe("notes", [fromWire(deep(60)), large]))).toEqual(["deep", "large"]);
    expect(namesOf(await opened.pins.load("notes", launch))).toEqual(["deep", "large"]);
  });

  test("that comes twice counts as the first one says", async () => {
    await using opened = await openTestPins();
    await opened.pins.load("notes", launch);
    const twice = [listed("add"), listed("add", { description: "Another" })];
    const seen = await opened.pins.observe("notes", twice);
    expect(seen.tools.map(({ definition }) => definition["description"])).toEqual(["What add does"]);
  });

  test("under any name keeps its own pin", async () => {
    await using opened = await openTestPins();
    const { pins } = opened;
    await pins.load("a", launch);
    await pins.load("a-b", launch);
    const names = ["", "/", "a/", "%", "\u0000", "\ud800", "\udfff", "__proto__", "constructor", "x".repeat(5_000)];
    const seen = await pins.observe(
      "a",
      names.map((name) => listed(name)),
    );
    expect(namesOf(seen)).toEqual(names.toSorted());
    expect(namesOf(await pins.load("a", launch))).toEqual(names.toSorted());
    expect(namesOf(await pins.load("a-b", launch))).toEqual([]);
    expect(await pins.differences()).toEqual([]);
  });

  test("is one of 10,000", async () => {
    await using opened = await openTestPins();
    await opened.pins.load("notes", launch);
    const many = Array.from({ length: 10_000 }, (_, index) => listed(`tool-${String(index).padStart(5, "0")}`));
    expect((await opened.pins.observe("notes", many)).tools).toHaveLength(10_000);
    const changed = many.map((tool, index) => (index === 5_000 ? listed(tool.name, { title: "Other" }) : tool));
    expect((await opened.pins.observe("notes", changed)).tools).toHaveLength(9_999);
    expect(await opened.pins.differences()).toMatchObject([{ tool: "tool-05000" }]);
  });
});

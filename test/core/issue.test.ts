import { describe, expect, test } from "vitest";
import { z } from "zod";
import { fit } from "../../src/core/issue.ts";

function problems(schema: z.ZodType, value: unknown): readonly string[] {
  const fitted = fit(schema, value, "the whole");
  return "data" in fitted ? [] : fitted.problems.map(({ text }) => text);
}

const whole = z.int().min(1).max(9);
const file = z.union([
  z.strictObject({ path: z.string(), text: z.string() }),
  z.strictObject({ path: z.string(), base64: z.base64() }),
]);

describe("a problem with a value", () => {
  test.each([
    ["a missing string", z.strictObject({ a: z.string() }), {}, ["a: expected a string, and it is missing"]],
    ["another type", z.array(z.string()), ["x", 3], ["1: expected a string, got 3"]],
    ["the whole", z.strictObject({}), [], ["the whole: expected an object, got a list of 0"]],
    ["true or false", z.boolean(), "yes", ['the whole: expected true or false, got "yes"']],
    ["no number", whole, "soon", ['the whole: expected a whole number from 1 to 9, got "soon"']],
    ["no whole number", whole.optional(), 1.5, ["the whole: expected a whole number from 1 to 9, got 1.5"]],
    ["a number out of bounds", whole, 0, ["the whole: expected a whole number from 1 to 9, got 0"]],
    ["a number that two bounds exclude", whole, 1e300, ["the whole: expected a whole number from 1 to 9, got 1e+300"]],
    ["one bound", z.number().min(0), -1, ["the whole: expected a number from 0, got -1"]],
    ["no bound", z.int(), "x", ['the whole: expected a whole number, got "x"']],
    ["a long string", z.string().max(3), "abcd", ["the whole: expected at most 3 characters, got 4"]],
    ["an empty string", z.string().min(1), "", ["the whole: expected at least 1 character, got 0"]],
    ["a list of the wrong length", z.array(z.int()).length(2), [1], ["the whole: expected exactly 2 items, got 1"]],
    ["another value", z.enum(["a", "b"]), "c", ['the whole: expected one of "a", "b", got "c"']],
    ["not the one value", z.literal(1), 2, ["the whole: expected 1, got 2"]],
    [
      "an unknown key",
      z.strictObject({ text: z.string().optional() }),
      { txt: 1 },
      ['the whole: "txt" is no key here (did you mean "text"?)'],
    ],
    [
      "a key like none",
      z.strictObject({ a: z.int().optional(), b: z.int().optional() }),
      { zzzz: 1 },
      ['the whole: "zzzz" is no key here (known here: a, b)'],
    ],
    [
      "a bad key of a record",
      z.record(z.string().regex(/^a/, "a key begins with a"), z.int()),
      { B: 1 },
      ["B: a key begins with a"],
    ],
    ["a pattern", z.string().regex(/^a/), "b", ['the whole: expected text that matches /^a/, got "b"']],
    ["a format", z.base64(), "!", ['the whole: expected text of the form base64, got "!"']],
    [
      "no type of a union",
      z.union([z.string(), z.int()]),
      [1],
      ["the whole: expected a string or a number, got a list of 1"],
    ],
    [
      "no form of a union",
      z.array(file),
      [{ path: "a" }],
      ["0: text: expected a string, and it is missing; or base64: expected a string, and it is missing"],
    ],
    [
      "an unknown kind",
      z.discriminatedUnion("type", [z.object({ type: z.literal("a") }), z.object({ type: z.literal("b") })]),
      { type: "c" },
      ['type: expected one of "a", "b", got "c"'],
    ],
    ["what only zod knows", z.number().multipleOf(3), 1, [expect.stringContaining("3")]],
    ["what the schema says itself", z.string().refine(() => false, "never this"), "a", ["the whole: never this"]],
  ])("is told in our words: %s", (_, schema, value, said) => {
    expect(problems(schema, value)).toEqual(said);
  });

  test("shows little of a long value, and nothing that a terminal obeys", () => {
    const [said = ""] = problems(z.int(), `\u001b[2J${"x".repeat(10_000)}`);
    expect(said.length).toBeLessThan(200);
    expect(said).not.toContain("\u001b");
    const [key = ""] = problems(z.strictObject({}), { ["k".repeat(10_000)]: 1 });
    expect(key.length).toBeLessThan(200);
    const [where = ""] = problems(z.record(z.string(), z.int()), { ["\u001b[2J".repeat(10_000)]: "x" });
    expect(where.length).toBeLessThan(300);
    expect(where).not.toContain("\u001b");
  });

  test("of a value that fits there is none", () => {
    expect(fit(whole.default(3), undefined, "it")).toEqual({ data: 3 });
  });
});

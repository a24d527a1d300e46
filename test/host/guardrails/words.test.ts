import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileWords } from "../../../src/host/guardrails/words.ts";
import { pureCases } from "../../support/cases.ts";

const hits = (words: readonly string[], text: string): readonly string[] | undefined =>
  compileWords(words)(text)?.map(({ start, end }) => text.slice(start, end));

describe("compileWords()", () => {
  test.each([
    ["secret", "No SECRETS, but a Secret! secret-ish", ["Secret", "secret"]],
    ["secret", "s\u007Fe\u0085c\u0008ret", ["s\u007Fe\u0085c\u0008ret"]],
    ["secret", "s\u200Be\u2060cre\u00ADt and s\uFE0Fecret", ["s\u200Be\u2060cre\u00ADt", "s\uFE0Fecret"]],
    [
      "secret",
      "ｓｅｃｒｅｔ 𝐬𝐞𝐜𝐫𝐞𝐭 sécrêt s\u0336e\u0336cret",
      ["ｓｅｃｒｅｔ", "𝐬𝐞𝐜𝐫𝐞𝐭", "sécrêt", "s\u0336e\u0336cret"],
    ],
    ["Project  Alpha", "the project\n\talpha, project-alpha, projectalpha", ["project\n\talpha"]],
    ["straße", "STRASSE Strasse straße", ["STRASSE", "Strasse", "straße"]],
    ["坏词", "这是坏词啊", ["坏词"]],
    ["c++", "c++, c+++", ["c++", "c++"]],
    // What is not seen through, as the docs say.
    ["secret", "s e c r e t, s-e-c-r-e-t, s3cret, ѕесrеt", []],
  ])("finds %s as a whole word", (word, text, expected) => {
    expect(hits([word], text)).toEqual(expected);
  });

  test.each([" ", "\u200B", "\u0301"])("refuses the word %j, which would be found nowhere", (word) => {
    expect(() => compileWords(["secret", word])).toThrow("has no letter");
  });

  test("keeps letters apart that are letters of their script", () => {
    expect(hits(["कम"], "काम कम")).toEqual(["कम"]);
  });

  test("finds all of many words in one walk, as looking for each by itself does", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", " "), minLength: 1, maxLength: 4 });
    const words = word.filter((one) => one.trim() !== "");
    const property = fc.property(fc.array(words, { minLength: 1, maxLength: 6 }), word, word, (looked, a, b) => {
      const text = `${a} ${b}${a}-${b}`;
      const expected = new Set<number>();
      for (const one of looked.map((each) => each.replace(/ +/g, " ").trim())) {
        // Ahead of each place, so that matches which overlap are all seen.
        const form = new RegExp(`(?<![ab])(?=(${one.replaceAll(" ", " +")})(?![ab]))`, "g");
        for (const { index, 1: match = "" } of text.matchAll(form)) {
          for (let at = index; at < index + match.length; at += 1) expected.add(at);
        }
      }
      const found = (compileWords(looked)(text) ?? []).flatMap(({ start, end }) =>
        Array.from({ length: end - start }, (_, at) => start + at),
      );
      expect(found).toEqual([...expected].toSorted((one, other) => one - other));
    });
    fc.assert(property, { numRuns: pureCases });
  });

  test("takes linear time, however words and text repeat each other", () => {
    const words = Array.from({ length: 200 }, (_, length) => `${"a".repeat(length)}b`);
    const started = performance.now();
    expect(compileWords(words)("a".repeat(300_000))).toEqual([]);
    expect(compileWords(words)("a of it, ".repeat(150_000))).toEqual([]);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

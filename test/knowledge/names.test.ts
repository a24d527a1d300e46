import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toLabelNorm, toNames, toNorm, toPhrases, toTerms } from "../../src/knowledge/names.ts";
import { toSpelling } from "../../src/knowledge/spelling.ts";
import { plainCases } from "../support/cases.ts";

const word = fc.string({ unit: fc.constantFrom("a", "b", "c", "é", "ß", "字"), minLength: 1, maxLength: 12 });

describe("toNorm()", () => {
  test("is a normal form: bringing it to normal form again changes nothing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(toNorm(toNorm(text))).toBe(toNorm(text));
      }),
      { numRuns: plainCases },
    );
  });

  test.each([
    ["O’Brien", "o'brien"],
    ["“Ada”", '"ada"'],
    ["Jean–Luc", "jean-luc"],
    ["ﬁne ＡＢＣ", "fine abc"],
    ["a\u00a0\t b", "a b"],
  ])("brings %s to %s", (name, norm) => {
    expect(toNorm(name)).toBe(norm);
  });

  test("takes labels as words", () => {
    expect(["Works At", "works-at", "works__at"].map(toLabelNorm)).toEqual(["works_at", "works_at", "works_at"]);
  });
});

describe("toTerms()", () => {
  test.each([
    ["Who founded the Acme Corp?", ["founded", "acme", "corp"]],
    ["the who", ["the", "who"]],
    ["foo-bar AND name:x*", ["foo", "bar", "name", "x"]],
    ["Łódź łódź", ["łódź"]],
    ["… !?", []],
  ])("of %j are %j", (query, terms) => {
    expect(toTerms(query)).toEqual(terms);
  });

  test("are few and short, whatever the query", () => {
    const terms = toTerms(Array.from({ length: 500 }, (_, n) => `${n}x`.repeat(100)).join(" "));
    expect(terms.length).toBeLessThanOrEqual(16);
    expect(Math.max(...terms.map(({ length }) => length))).toBeLessThanOrEqual(64);
  });
});

describe("toPhrases()", () => {
  test("gives the runs of words, longest first, with their share of the telling words", () => {
    expect(toPhrases("Where is the Acme Corp?").filter(({ share }) => share === 1)).toEqual([
      { norm: "where is the acme corp", share: 1 },
      { norm: "is the acme corp", share: 1 },
      { norm: "the acme corp", share: 1 },
      { norm: "acme corp", share: 1 },
    ]);
    expect(toPhrases("the acme corp")).toContainEqual({ norm: "acme", share: 0.5 });
    expect(toPhrases("where is the")).toEqual([]);
  });

  test("are bounded, whatever the query", () => {
    expect(toPhrases("word ".repeat(250)).length).toBeLessThanOrEqual(6 * 24);
  });
});

test("toNames() gives a query with and without the stop words around its name", () => {
  expect(toNames("tell me about The Who")).toEqual(["tell me about the who"]);
  expect(toNames("who is Ada of Lovelace?")).toEqual(["who is ada of lovelace?", "ada of lovelace?"]);
});

describe("toSpelling()", () => {
  test("is 1 for the same, symmetric, and from 0 to 1", () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const likeness = toSpelling(a)(b);
        expect(toSpelling(a)(a)).toBe(1);
        expect(likeness).toBe(toSpelling(b)(a));
        expect(likeness === 1).toBe(a === b);
        expect(likeness).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: plainCases },
    );
  });

  test("is below 1 for names that have the same trigrams and are not the same", () => {
    expect(toSpelling("aaaa")("aaaaa")).toBeLessThan(1);
  });

  test("is high after one slip: a letter dropped, doubled, replaced or swapped", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii", minLength: 6, maxLength: 20 }), fc.nat(), (name, place) => {
        const letters = Array.from(name);
        const at = place % (letters.length - 1);
        const [here = "", next = ""] = letters.slice(at);
        for (const slip of ["", here + here, "~", `${next}${here}`]) {
          const taken = slip.length === 2 && slip !== here + here ? 2 : 1;
          const misspelled = letters.toSpliced(at, taken, slip).join("");
          expect(toSpelling(name)(misspelled)).toBeGreaterThan(0.8);
        }
      }),
      { numRuns: plainCases },
    );
  });

  test("forgives the order of words, and finds strangers unlike", () => {
    expect(toSpelling("ada lovelace")("lovelace ada")).toBeGreaterThan(0.5);
    expect(toSpelling("ada lovelace")("grace hopper")).toBeLessThan(0.3);
  });
});

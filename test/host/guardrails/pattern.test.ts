import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilePattern } from "../../../src/host/guardrails/pattern.ts";
import { pureCases } from "../../support/cases.ts";

const hits = (pattern: string, text: string): readonly string[] | undefined =>
  compilePattern(pattern)(text)?.map(({ start, end }) => text.slice(start, end));

describe("compilePattern()", () => {
  test.each([
    [String.raw`\b\d{4}(?:[- ]?\d{4}){3}\b`, "card 1234-5678 9012-3456.", ["1234-5678 9012-3456"]],
    ["(?i)pass(word|phrase)", "PassWord and passphrase", ["PassWord", "passphrase"]],
    ["pass", "PASS", []],
    ["^a.*$", "xa\nab\nba", ["ab"]],
    ["a{2,3}", "a aa aaa aaaaa", ["aa", "aaa", "aaaaa"]],
    [String.raw`[\p{Lu}\]x-z]+`, "aÀ]yb", ["À]y"]],
    [String.raw`\u{1f600}.|\x41`, "😀b A", ["😀b", "A"]],
    ["(?<name>a|)b", "ab b", ["ab", "b"]],
    ["(a*)*c|()", "aaac", ["aaac"]],
    [String.raw`x\B`, "x xy", ["x"]],
  ])("finds %s", (pattern, text, expected) => {
    expect(hits(pattern, text)).toEqual(expected);
  });

  test.each([
    ["a(?=b)", "looks ahead"],
    ["(?<!a)b", "looks ahead or behind"],
    [String.raw`(a)\1`, "refers back"],
    [String.raw`(?<n>a)\k<n>`, "refers back"],
    ["(?i:a)", "flags"],
    ["a(", "no regular expression"],
    ["(?:a{900}){900}", "too large"],
  ])("refuses %s, and says why", (pattern, why) => {
    expect(() => compilePattern(pattern)).toThrow(why);
  });

  test.each([
    ["(a+)+$", `${"a".repeat(100_000)}b`],
    ["(a|aa)*c", "a".repeat(100_000)],
    ["(.*a){10}", "b".repeat(100_000)],
    ["a|a.*b", "a".repeat(100_000)],
    ["(?:(?:a?){20}){20}b", "a".repeat(100_000)],
    ["(?:(?:){999999999}){999999999}b", "a".repeat(100_000)],
  ])("takes few steps for %s on 100 kB, or gives the text up as a whole", (pattern, text) => {
    // `RegExp` needs longer than the age of the universe for the first.
    const found = compilePattern(pattern)(text);
    expect(found === null || found.length < 2).toBe(true);
    expect(compilePattern("b$")(`${text}b`)).toHaveLength(1);
  });

  test("finds what `RegExp` finds, whatever the pattern", () => {
    const leaf = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", String.raw`\w`, String.raw`\b`, "^", "$", "é", "😀");
    const isAssertion = (node: string): boolean => ["\\b", "^", "$"].includes(node);
    const { tree } = fc.letrec<{ tree: string }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.tuple(tie("tree"), tie("tree")).map(([a, b]) => a + b),
        fc.tuple(tie("tree"), tie("tree")).map(([a, b]) => `(?:${a}|${b})`),
        fc
          .tuple(tie("tree"), fc.constantFrom("*", "+", "?", "{2}", "{1,2}", "{2,}", "*?"))
          .map(([a, times]) => (isAssertion(a) ? a : `(${a})${times}`)),
      ),
    }));
    const text = fc.string({ unit: fc.constantFrom("a", "b", " ", "\n", "é", "😀"), maxLength: 8 });
    const property = fc.property(tree, text, (pattern, subject) => {
      const isCovered = new Set<number>();
      for (let start = 0; start < subject.length; start += 1) {
        for (let end = start + 1; end <= subject.length; end += 1) {
          if (!matches(pattern, subject, start, end)) continue;
          for (let at = start; at < end; at += 1) isCovered.add(at);
        }
      }
      const found = compilePattern(pattern)(subject) ?? [];
      const covered = new Set(
        found.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, at) => start + at)),
      );
      expect([...covered]).toEqual([...isCovered].toSorted((a, b) => a - b));
    });
    fc.assert(property, { numRuns: Math.ceil(pureCases / 10) });
  });
});

/** Whether `RegExp` has a match that begins and ends at exactly these places; none does within a pair of surrogates. */
function matches(pattern: string, text: string, start: number, end: number): boolean {
  if ([start, end].some((place) => /[\uDC00-\uDFFF]/.test(text.charAt(place)))) return false;
  const form = new RegExp(`(?:${pattern})(?=[^]{${Array.from(text.slice(end)).length}}(?![^]))`, "muy");
  form.lastIndex = start;
  return form.test(text);
}

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toLineDiff } from "../../src/cli/line-diff.ts";
import { plainCases } from "../support/cases.ts";

const few = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 6 });

describe("toLineDiff()", () => {
  test("marks what went and what came, with three lines around", () => {
    const lines = (change: string) => ["1", "2", "3", "4", "5", change, "7", "8", "9", "10", "11"];
    expect(toLineDiff(lines("old"), lines("new"))).toEqual([
      "...",
      ..."  3|  4|  5|- old|+ new|  7|  8|  9".split("|"),
      "...",
    ]);
    expect(toLineDiff(["a", "b"], ["a", "x", "b"])).toEqual(["  a", "+ x", "  b"]);
    expect(toLineDiff(["a"], [])).toEqual(["- a"]);
  });

  test("tells the old text and the new one, and marks nothing that both have in the same place", () => {
    fc.assert(
      fc.property(few, few, (before, after) => {
        const lines = toLineDiff(before, after).filter((line) => line !== "...");
        const having = (...marks: readonly string[]) =>
          lines.filter((line) => marks.includes(line.slice(0, 2))).map((line) => line.slice(2));
        expect(isWithin(having("- ", "  "), before)).toBe(true);
        expect(isWithin(having("+ ", "  "), after)).toBe(true);
        expect(having("- ").length - having("+ ").length).toBe(before.length - after.length);
        // What differs is shown, and nothing where nothing does.
        expect(lines.length > 0).toBe(before.join() !== after.join());
      }),
      { numRuns: plainCases },
    );
  });

  test("takes no text's word for a mark", () => {
    expect(toLineDiff(["..."], ["+ evil", "- good"])).toEqual(["- ...", "+ + evil", "+ - good"]);
  });

  test("takes long texts apart in time, if not in the shortest way", () => {
    const before = Array.from({ length: 50_000 }, (_, index) => `old ${index}`);
    const after = Array.from({ length: 50_000 }, (_, index) => `new ${index}`);
    const lines = toLineDiff(["same", ...before], ["same", ...after]);
    expect(lines).toHaveLength(100_001);
    expect(lines[1]).toBe("- old 0");
    expect(lines.at(-1)).toBe("+ new 49999");
  });
});

/** Whether all lines of a part stand in the whole, in their order. */
function isWithin(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const line of whole) if (line === part[at]) at++;
  return at === part.length;
}

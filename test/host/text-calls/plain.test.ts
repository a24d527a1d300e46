import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toPlain } from "../../../src/host/text-calls/plain.ts";
import { pureCases } from "../../support/cases.ts";

describe("toPlain()", () => {
  test("gives the same for a text and for the JSON that holds it, however deep", () => {
    const piece = fc.constantFrom(
      ...[
        "\\",
        "\\\\",
        "n",
        "u005c",
        "u0041",
        "x41",
        "&",
        "amp;",
        "lt;",
        "#65;",
        "#x41;",
        '"',
        "\n",
        "a",
        "É",
        "１",
        " ",
      ],
    );
    const text = fc.array(piece, { maxLength: 16 }).map((pieces) => pieces.join(""));
    const property = fc.property(text, fc.integer({ min: 1, max: 5 }), (inner, depth) => {
      let outer = inner;
      for (let level = 0; level < depth; level += 1) outer = JSON.stringify(outer);
      expect(toPlain(outer)).toBe(toPlain(inner));
    });
    fc.assert(property, { numRuns: pureCases });
    expect(toPlain(String.raw`\u005cu0041 &amp;lt;b&gt; C:\new １É`)).toBe("abcew1é");
  });

  test("takes linear time", () => {
    const started = performance.now();
    for (const part of ["\\", "\\u005c", "u005c", "&", "&amp;", "amp;"]) toPlain(`\\${part.repeat(40_000)}`);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toPublishedName } from "../../../src/host/mcp/names.ts";
import { pureCases } from "../../support/cases.ts";

const server = fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/);
/** Names as servers have them, and names that try to be taken for others: with other characters, too long, with half a surrogate pair. */
const name = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/),
  fc.string({ unit: "binary", maxLength: 80 }),
  fc.stringMatching(/^[a-c._]{0,3}(_[0-9a-f]{8})?$/),
  fc.string({ maxLength: 3 }).map((end) => `${"n".repeat(60)}${end}`),
  fc.integer({ min: 0xd800, max: 0xdfff }).map((half) => String.fromCharCode(half)),
);

describe("toPublishedName()", () => {
  test.each([
    ["notes", "add", "notes__add"],
    ["a", "b__c", "a__b__c"],
    ["a", "_b", "a___b"],
    ["a", "x".repeat(61), `a__${"x".repeat(61)}`],
  ])("keeps what is lawful: %s and %s", (of, own, published) => {
    expect(toPublishedName(of, own)).toBe(published);
  });

  test.each([["files.read"], ["x".repeat(62)], [""], ["größe"], ["a b"], ["end_0123abcd"]])(
    "ends %j in a hash",
    (own) => {
      expect(toPublishedName("a", own)).toMatch(/^a__[A-Za-z0-9_-]*_[0-9a-f]{8}$/);
    },
  );

  test("is 1 to 64 characters that every client takes, and begins with the server", () => {
    fc.assert(
      fc.property(server, name, (of, own) => {
        const published = toPublishedName(of, own);
        expect(published).toMatch(/^[A-Za-z0-9_-]{1,64}$/);
        expect(published.startsWith(`${of}__`)).toBe(true);
        expect(toPublishedName(of, own)).toBe(published);
      }),
      { numRuns: pureCases },
    );
  });

  test("tells any two tools apart, of one server and of two", () => {
    fc.assert(
      fc.property(server, name, server, name, (of, own, other, theirs) => {
        const isSame = of === other && own === theirs;
        expect(toPublishedName(of, own) === toPublishedName(other, theirs)).toBe(isSame);
        expect(toPublishedName(of, own) === toPublishedName(of, theirs)).toBe(own === theirs);
      }),
      { numRuns: pureCases },
    );
  });

  test("no tool takes the published name of another one for its own", () => {
    fc.assert(
      fc.property(server, name, server, (of, own, other) => {
        const published = toPublishedName(of, own);
        const shadow = published.slice(of.length + 2);
        expect(toPublishedName(of, shadow) === published).toBe(shadow === own);
        expect(toPublishedName(other, published)).not.toBe(published);
        fc.pre(other !== of);
        expect(toPublishedName(other, shadow)).not.toBe(published);
      }),
      { numRuns: pureCases },
    );
  });
});

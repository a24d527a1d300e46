import * as fc from "fast-check";
import { expect, test } from "vitest";
import { openLineCutter } from "../../src/core/lines.ts";
import { pureCases } from "../support/cases.ts";

test("openLineCutter() yields the same lines however the bytes are cut into chunks, and of those that are too long their ends", () => {
  const max = 8;
  const line = fc
    .uint8Array({ maxLength: 20 })
    .map((bytes) => Buffer.from(bytes.map((byte) => (byte === 10 ? 11 : byte))));
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
      (lines, sizes) => {
        const bytes = Buffer.concat(lines.flatMap((each) => [each, Buffer.from("\n")]));
        const cut = openLineCutter(max);
        const found = [];
        for (let start = 0, turn = 0; start < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          found.push(...cut(bytes.subarray(start, start + size)));
          start += size;
        }
        const edges = (each: Buffer) => ({ head: each.subarray(0, max / 2), tail: each.subarray(-max / 2) });
        expect(found).toEqual(lines.map((each) => (each.length > max ? edges(each) : each)));
      },
    ),
    { numRuns: pureCases },
  );
});

import { expect, test } from "vitest";
import { bounded } from "../../src/tools/bounded.ts";

test("bounded() counts the time in which the work computes, not that for which the machine let it wait", () => {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  const waits = () => Atomics.wait(cell, 0, 0, 30);
  expect(bounded("Waiting", 20, waits)).toBe("timed-out");
  const computes = (): never => {
    for (;;) cell[0] = 1 - (cell[0] ?? 0);
  };
  expect(() => bounded("Computing", 20, computes)).toThrow("Computing took more than 20 ms and was given up");
});

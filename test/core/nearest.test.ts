import { expect, test } from "vitest";
import { nearest } from "../../src/core/nearest.ts";

test.each([
  ["timoutMs", "timeoutMs"],
  ["TIMEOUTMS", "timeoutMs"],
  ["memoryMB", "memoryMb"],
  ["x", undefined],
  ["completelyDifferent", undefined],
])("nearest(%j) is %j", (word, wanted) => {
  expect(nearest(word, ["timeoutMs", "memoryMb", "workers"])).toBe(wanted);
});

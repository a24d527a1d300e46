import { expect, test } from "vitest";
import { toNarrowing } from "../../src/cli/grant-options.ts";

const languages = ["javascript", "python"];

test.each([
  [{ language: ["python", "ruby"] }, '--language takes javascript, python, not "ruby".'],
  [{ isolation: "strong" }, 'wasm-in-thread, wasm-in-child, os-sandbox, container, user-space-kernel, not "strong".'],
  [{ costUsd: "much" }, '--cost-usd takes an amount in US dollars such as 0.50, not "much".'],
  [{ costUsd: "-1" }, 'not "-1"'],
  [{ costUsd: "" }, 'not ""'],
  [{ cpu: "5" }, 'such as 15m, not "5"'],
  [{ memoryMb: "1.5" }, "whole number"],
  [{ depth: "-1" }, "whole number"],
])("the options %j of a grant are refused with what they take", async (options, said) => {
  const message = expect.stringContaining(said);
  await expect(toNarrowing(options, languages)).rejects.toMatchObject({ code: "usage.bad_option", message });
});

test("limits are amounts in the units of grants, and those that nobody named are none", async () => {
  const { limits } = await toNarrowing({ costUsd: ".5", time: "2h", memoryMb: "999999999999" }, languages);
  expect(limits).toEqual({ costMicroUsd: 500_000, wallMs: 7_200_000, memoryBytes: Number.MAX_SAFE_INTEGER });
  expect(await toNarrowing({}, languages)).toEqual({ limits: {} });
});

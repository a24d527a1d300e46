import { defineConfig } from "vitest/config";

const cases = Number(process.env["CAPSTAN_CASES"] ?? 0);
const slowCases = Number(process.env["CAPSTAN_SLOW_CASES"] ?? 0);

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // More cases (test/support/cases.ts) get more time; the machine of CI has two noisy cores.
    testTimeout: 60_000 + 4 * cases + 10_000 * slowCases,
    hookTimeout: 60_000,
    pool: "forks",
    // Many tests wait for processes and clocks: a third worker uses what two cores have left.
    maxWorkers: 3,
  },
});

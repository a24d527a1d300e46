import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { matrixReporter } from "./test/sandbox/matrix-reporter.ts";
import { compiled } from "./test/support/capstan.ts";

// The workers inherit it.
Object.assign(process.env, compiled);

const sandbox = ["test/sandbox/**/*.test.ts"];
const cases = Number(process.env["CAPSTAN_CASES"] ?? 0);
const slowCases = Number(process.env["CAPSTAN_SLOW_CASES"] ?? 0);

/** Those that try an engine, and those that grow most with `CAPSTAN_CASES` and `CAPSTAN_CRASH_POINTS`. */
const longest =
  /\/(?:sandbox\/matrix-\w+|host\/crash-matrix|permissions\/grant-properties|mcp\/http|context\/plan|host\/decide)\.test\./;

/**
 * Starts the longest files first. A machine that knows no durations of an earlier run goes by size, and would begin these when nothing is
 * left to run beside them.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => longest.test(moduleId);
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

export default defineConfig({
  test: {
    projects: [
      // What weighs memory, counts descriptors or changes the environment has a process for each file.
      { extends: true, test: { name: "sandbox", include: sandbox } },
      // The others share theirs, so that the source is not loaded anew for each.
      { extends: true, test: { name: "shared", include: ["test/**/*.test.ts"], exclude: sandbox, isolate: false } },
    ],
    // More cases (test/support/cases.ts) get more time; the machine of CI has two noisy cores.
    testTimeout: 240_000 + 10 * cases + 10_000 * slowCases,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 60_000 } },
    // In this order, so that the summary stands last.
    reporters: [matrixReporter, "default"],
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    // Many tests wait for processes and clocks: more workers use what two cores have left.
    maxWorkers: 4,
  },
});

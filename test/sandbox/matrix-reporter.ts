import type { Reporter, TestModule } from "vitest/node";

/** What a test of the matrix tells: which attack on which engine, and what came of it where it ran to its end. */
interface Attack {
  readonly engine: string;
  readonly id: string;
  readonly language: string;
  readonly title: string;
  readonly outcome?: string;
}

declare module "vitest" {
  interface TaskMeta {
    hostile?: Attack;
  }
}

/** Prints, at the end of a test run, what came of each attack in each engine that was tried. Without such tests it prints nothing. */
export const matrixReporter: Reporter = {
  onTestRunEnd(modules) {
    const attacks = modules.flatMap(attacksOf);
    if (attacks.length > 0) process.stdout.write(`\n${toMatrix(attacks)}\n\n`);
  },
};

function attacksOf(module: TestModule): readonly Attack[] {
  return Array.from(module.children.allTests()).flatMap((test) => {
    const { hostile } = test.meta();
    const { state } = test.result();
    return hostile === undefined ? [] : [{ outcome: state === "skipped" ? "-" : state, ...hostile }];
  });
}

/** A row for each attack in each language, and what came of it in each engine: empty where it is not for that engine. */
function toMatrix(attacks: readonly Attack[]): string {
  const engines = [...new Set(attacks.map(({ engine }) => engine))].toSorted();
  const tried = [...Map.groupBy(attacks, toKey).values()].filter((row) => row.some(({ outcome }) => outcome !== "-"));
  const rows = tried.map((row) => {
    const [first] = row;
    const outcomes = engines.map((name) => row.find(({ engine }) => engine === name)?.outcome ?? "");
    return [first?.id ?? "", first?.language ?? "", ...outcomes, first?.title ?? ""];
  });
  const table = [
    ["", "", ...engines, "hostile code"],
    ...rows.toSorted((a, b) => a.join().localeCompare(b.join(), "en", { numeric: true })),
  ];
  const widths = engines
    .concat("", "", "")
    .map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const toKey = ({ id, language }: Attack): string => `${id} ${language}`;

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEngines } from "../../src/sandbox/all.ts";
import { SandboxConfig } from "../../src/sandbox/config.ts";
import type { Engine, ExecResult, Language } from "../../src/sandbox/engine.ts";
import { slowCases } from "../support/cases.ts";
import { dockerSocket, testImage } from "../support/docker.ts";
import { isRequired } from "../support/machine.ts";
import { hostileCases } from "./hostile/all.ts";
import { type Canaries, expectUntouched, plantCanaries } from "./hostile/canaries.ts";
import type { Expectation, HostileCase, Variant } from "./hostile/case.ts";
import { killMs, runIn, testLimits } from "./hostile.ts";
import { collectedRss, expectMemoryBack } from "./hostile/memory-back.ts";
import { pythonCache } from "../support/python.ts";
import { alsoPlain, openPython } from "./python.ts";

/** An engine of the matrix, and which classes of attacks it is tried with; all where none are named. */
interface Column {
  readonly name: string;
  readonly engine: Engine;
  readonly classes?: string;
}

/** One attack on one engine. */
interface Cell extends Expectation {
  readonly id: string;
  readonly title: string;
  readonly language: Language;
  readonly code: Variant["code"];
}

const closeMs = 30_000;
const never = new AbortController().signal;
// Where there is no daemon to ask for the image, the engine's own probe says so.
const image = await testImage().catch(() => "none");
const config = SandboxConfig.parse({ docker: { socket: dockerSocket, image } });
const columns: readonly Column[] = [
  ...openEngines({ cacheDir: pythonCache, config }).map((engine) => ({
    name: engine.name,
    engine,
  })),
  // What reaches for the machine must fail behind the seal alone, too.
  ...(alsoPlain
    ? [{ name: "pyodide without bubblewrap", engine: openPython({ bubblewrap: "never" }), classes: "ABCD" }]
    : []),
];
const missing = new Map<Column, string>();
for (const column of columns) {
  const why = await column.engine.probe(never);
  if (why !== null) missing.set(column, why.reason);
}
/** What docs/sandbox.md says does not hold: `engine id language`. */
const documented = new Set(
  Array.from(
    readFileSync(join(import.meta.dirname, "../../docs/sandbox.md"), "utf8").matchAll(
      /^- `(\w+)` does not hold `(\w+)` \((\w+)\): \S/gm,
    ),
    ([, engine, id, language]) => `${engine} ${id} ${language}`,
  ),
);
const outcomes = new Map<string, string>();

let canaries: Canaries;
let baseline = 0;

beforeAll(async () => {
  canaries = await plantCanaries();
  await Promise.all(columns.filter((column) => !missing.has(column)).map(warmUp));
});

// One engine after the other: side by side, the memory that one of them holds for a while would be blamed on another.
for (const column of columns) {
  const why = missing.get(column);
  describe(
    `Hostile code in ${column.name}${why === undefined ? "" : `, which does not run here: ${why}`}`,
    { skip: why !== undefined },
    () => {
      tryAll(column);
    },
  );
}

test("every engine runs that is required here", () => {
  expect(Array.from(missing.keys(), ({ name }) => name).filter(isRequired)).toEqual([]);
});

test("the cases that docs/sandbox.md lists as not held are cases of the matrix", () => {
  const known = new Set(columns.flatMap((column) => toCells(column).map((cell) => toKey(column, cell))));
  expect([...documented].filter((key) => !known.has(key))).toEqual([]);
});

test("each case has an id of its own, and is tried somewhere", () => {
  expect(new Set(hostileCases.map(({ id }) => id)).size).toBe(hostileCases.length);
  for (const { id, in: variants } of hostileCases) {
    expect(id).toMatch(/^[A-K]\d+[a-z]?$/);
    expect(Object.keys(variants)).not.toEqual([]);
  }
});

afterAll(async () => {
  await Promise.all(columns.map(close));
  await canaries[Symbol.asyncDispose]();
  process.stdout.write(`\n${toMatrix()}\n\n`);
});

/** Closing names the engine that hangs. */
async function close({ name, engine }: Column): Promise<void> {
  const closed = engine[Symbol.asyncDispose]().then(() => true);
  if (!(await Promise.race([closed, sleep(closeMs, false)]))) throw new Error(`The engine ${name} did not close.`);
}

/** Each attack ends as it says and in time; it sees and touches no canary; our memory comes back; and the next run is right. */
function tryAll(column: Column): void {
  const { engine } = column;
  const cells = toCells(column);
  beforeAll(() => {
    baseline = collectedRss();
  });
  test.for(cells)("$id $language: $title", async (cell) => {
    const { language, code, limits = {}, request = {}, copies = 1, next: nextCode } = cell;
    const text = typeof code === "string" ? code : code(canaries);
    const runs = await Promise.all(
      Array.from({ length: copies }, (_, copy) =>
        runIn(engine, language, text.replaceAll("COPY", `${copy}`), { limits, ...request }),
      ),
    );
    const next = nextCode === undefined ? undefined : await runIn(engine, language, nextCode, request);
    const wrong = thrownBy(() => runs.forEach((run, copy) => expectOutcome(cell, run, next, copy)));
    outcomes.set(
      toKey(column, cell),
      wrong === undefined ? [...new Set(runs.map(({ status }) => status))].join() : "NOT HELD",
    );
    expectUntouched(canaries, ...runs, ...(next === undefined ? [] : [next]));
    if (mustShowNext(cell, runs)) await expectNextRun(engine, language);
    await expectMemoryBack(baseline);
    const isDocumented = documented.has(toKey(column, cell));
    if (wrong !== undefined && !isDocumented) throw wrong;
    expect(isDocumented, "docs/sandbox.md says that this does not hold, but it does").toBe(wrong !== undefined);
  });

  /**
   * Where a run has a process to itself, the attack that follows is the next run, and shows by its own outcome that the engine is well: so
   * 1+1 is asked after each run that was ended, after the last of each class, and in the campaign after every one.
   */
  function mustShowNext(cell: Cell, runs: readonly ExecResult[]): boolean {
    const following = cells[cells.indexOf(cell) + 1];
    const isCheap = engine.level === "wasm-in-thread" || slowCases > 100;
    const wasEnded = runs.some(({ status }) => status !== "ok" && status !== "error");
    return isCheap || wasEnded || following?.id[0] !== cell.id[0];
  }
}

/**
 * Threads that wait for work hold memory of ours: as many as the attacks will start are no loss. The first run of another engine may be
 * the first that this machine ever sees.
 */
async function warmUp(column: Column): Promise<void> {
  const { engine } = column;
  const threads = engine.level === "wasm-in-thread" ? Math.max(...toCells(column).map(({ copies = 1 }) => copies)) : 1;
  for (const language of engine.languages) {
    await Promise.all(Array.from({ length: threads }, () => expectNextRun(engine, language)));
  }
}

function expectOutcome(cell: Cell, first: ExecResult, next: ExecResult | undefined, copy: number): void {
  const { status = "error", limits = {}, check } = cell;
  expect(first).toSatisfy(({ status: was }: ExecResult) => [status].flat().includes(was));
  expect(first.usage.wallMs).toBeLessThan((limits.wallMs ?? testLimits.wallMs) + killMs);
  expect(next?.status ?? "ok").toBe("ok");
  check?.(first, next, copy);
}

async function expectNextRun(engine: Engine, language: Language): Promise<void> {
  const [code, expected] =
    language === "bash" ? ["echo $((1+1))", { stdout: "2\n" }] : ["1+1", { stdout: "", result: 2 }];
  expect(await runIn(engine, language, code)).toMatchObject({ status: "ok", stderr: "", ...expected });
}

/** What of the table is for this engine, in its languages. */
function toCells({ name, engine, classes }: Column): readonly Cell[] {
  const isNative = !engine.level.startsWith("wasm");
  // Containers cost the most and hold the same programs as bubblewrap does: where nobody demands them, every third attack is tried.
  const isSampled = name === "docker" && !isRequired(name);
  const cases = hostileCases.filter((_, index) => !isSampled || index % 3 === 0);
  return cases.flatMap(({ id, title, in: variants, ...shared }: HostileCase) =>
    engine.languages.flatMap((language): readonly Cell[] => {
      const given = variants[language];
      if (given === undefined || classes?.includes(id.slice(0, 1)) === false) return [];
      const { native, ...variant } = toVariant(given);
      if (!isNative) return [{ ...shared, ...variant, id, title, language }];
      return native === null ? [] : [{ ...shared, ...variant, ...native, id, title, language }];
    }),
  );
}

const toVariant = (given: Variant | Variant["code"]): Variant => (typeof given === "object" ? given : { code: given });
const toKey = ({ name }: Column, { id, language }: { readonly id: string; readonly language: string }): string =>
  `${name} ${id} ${language}`;

function thrownBy(action: () => void): unknown {
  try {
    action();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

/** A row for each attack in each language, and what came of it in each engine: empty where it is not for that engine. */
function toMatrix(): string {
  const rows = hostileCases.flatMap(({ id, title, in: variants }) =>
    Object.keys(variants).map((language) => [
      id,
      language,
      ...columns.map((column) => (missing.has(column) ? "-" : (outcomes.get(toKey(column, { id, language })) ?? ""))),
      title,
    ]),
  );
  const table = [["", "", ...columns.map(({ name }) => name), "hostile code"], ...rows];
  const widths = table[0]?.map((_, index) => Math.max(...table.map((row) => row[index]?.length ?? 0))) ?? [];
  return table
    .map((row) =>
      row
        .map((text, index) => text.padEnd(widths[index] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

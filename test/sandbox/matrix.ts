import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, ExecResult, Language } from "../../src/sandbox/engine.ts";
import { slowCases } from "../support/cases.ts";
import { isRequired } from "../support/machine.ts";
import { hostileCases } from "./hostile/all.ts";
import { type Canaries, expectUntouched, plantCanaries } from "./hostile/canaries.ts";
import type { Expectation, HostileCase, Variant } from "./hostile/case.ts";
import { collectedRss, expectMemoryBack } from "./hostile/memory-back.ts";
import { killMs, runIn, testLimits } from "./hostile.ts";

/** An engine of the matrix. */
interface Column {
  readonly name: string;
  readonly engine: Engine;
  /** Which classes of attacks it is tried with; all where none are named. */
  readonly classes?: string;
  /** Where only CI has the time for it. */
  readonly skip?: boolean;
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
/** What docs/sandbox.md says does not hold: `engine id language`. */
const documented: readonly string[] = Array.from(
  readFileSync(join(import.meta.dirname, "../../docs/sandbox.md"), "utf8").matchAll(
    /^- `(\w+)` does not hold `(\w+)` \((\w+)\): \S/gm,
  ),
  ([, engine, id, language]) => `${engine} ${id} ${language}`,
);

/**
 * Tries each attack on one engine: it ends as it says and in time; it sees and touches no canary; our memory comes back; and the next run is
 * right. A file has one engine, so that the memory which one holds for a while is not blamed on another. Closes the engine.
 */
export async function describeMatrix(column: Column): Promise<void> {
  const { name, engine, skip = false } = column;
  const cells = toCells(column);
  const missing = skip ? null : await engine.probe(never);
  const title = missing === null ? name : `${name}, which does not run here: ${missing.reason}`;

  test(`${name} runs where it is required`, () => {
    expect(isRequired(name) ? missing : null).toBeNull();
  });

  test(`what docs/sandbox.md says ${name} does not hold is tried`, () => {
    const tried = hostileCases.flatMap(({ id, in: variants }) =>
      Object.keys(variants).map((language) => `${name} ${id} ${language}`),
    );
    const own = documented.filter((key) => key.startsWith(`${name} `));
    expect(tried).toEqual(expect.arrayContaining(own));
  });

  afterAll(async () => {
    const closed = engine[Symbol.asyncDispose]().then(() => true);
    if (!(await Promise.race([closed, sleep(closeMs, false)]))) throw new Error(`The engine ${name} did not close.`);
  });

  describe(`Hostile code in ${title}`, { skip: skip || missing !== null }, () => {
    let canaries: Canaries;
    let baseline = 0;
    beforeAll(async () => {
      canaries = await plantCanaries();
      await warmUp(engine, cells);
      baseline = collectedRss();
    });
    afterAll(() => canaries[Symbol.asyncDispose]());

    for (const [index, cell] of cells.entries()) {
      const { id, language, code, copies = 1, next: nextCode } = cell;
      const { limits, ...request } = toRequest(engine, cell);
      const told = { engine: name, id, language, title: cell.title };
      test(`${id} ${language}: ${cell.title}`, { meta: { hostile: told } }, async ({ task }) => {
        const text = typeof code === "string" ? code : code(canaries);
        const runs = await Promise.all(
          Array.from({ length: copies }, (_, copy) =>
            runIn(engine, language, text.replaceAll("COPY", `${copy}`), { limits, ...request }),
          ),
        );
        const next = nextCode === undefined ? undefined : await runIn(engine, language, nextCode, request);
        const wrong = thrownBy(() => runs.forEach((run, copy) => expectOutcome(cell, run, next, copy)));
        const outcome = wrong === undefined ? [...new Set(runs.map(({ status }) => status))].join() : "NOT HELD";
        task.meta.hostile = { ...told, outcome };
        expectUntouched(canaries, ...runs, ...(next === undefined ? [] : [next]));
        if (mustShowNext(engine, runs, cell, cells[index + 1])) await expectNextRun(engine, language);
        await expectMemoryBack(baseline);
        const isDocumented = documented.includes(`${name} ${id} ${language}`);
        if (wrong !== undefined && !isDocumented) throw wrong;
        expect(isDocumented, "docs/sandbox.md says that this does not hold, but it does").toBe(wrong !== undefined);
      });
    }
  });
}

/**
 * Where a run has a process to itself, the attack that follows is the next run, and shows by its own outcome that the engine is well: so
 * 1+1 is asked after each run that was ended, after the last of each class, and in the campaign after every one.
 */
function mustShowNext({ level }: Engine, runs: readonly ExecResult[], cell: Cell, following: Cell | undefined) {
  const isCheap = level === "wasm-in-thread" || slowCases > 100;
  const wasEnded = runs.some(({ status }) => status !== "ok" && status !== "error");
  return isCheap || wasEnded || following?.id[0] !== cell.id[0];
}

/**
 * Threads that wait for work hold memory of ours: as many as the attacks will start are no loss. Nor is what the allocator keeps of the
 * largest print for the next one, nor the door, which the first call of it loads. The first run of another engine may be the first that this
 * machine ever sees.
 */
async function warmUp(engine: Engine, cells: readonly Cell[]): Promise<void> {
  const threads = engine.level === "wasm-in-thread" ? Math.max(...cells.map(({ copies = 1 }) => copies)) : 1;
  for (const language of engine.languages) {
    await Promise.all(Array.from({ length: threads }, () => expectNextRun(engine, language)));
  }
  for (const cell of cells) {
    const { id, language, code } = cell;
    const isLarge = id === "H79" || id === "K100";
    if (isLarge && typeof code === "string") await runIn(engine, language, code, toRequest(engine, cell));
  }
}

const toRequest = (engine: Engine, { limits = {}, request, host }: Cell) => ({
  limits,
  ...request,
  ...(host === undefined ? {} : { onCall: host(engine) }),
});

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

function thrownBy(action: () => void): unknown {
  try {
    action();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}

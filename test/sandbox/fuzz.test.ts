import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Engine, ExecResult, Language } from "../../src/sandbox/engine.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { fuzzMs } from "../support/cases.ts";
import { toWalk, tokens as scriptTokens } from "./fuzz/javascript.ts";
import { toPrograms, tokens as pythonTokens } from "./fuzz/python.ts";
import { expectUntouched, plantCanaries } from "./hostile/canaries.ts";
import { echo } from "./hostile/case.ts";
import { collectedRss, expectMemoryBack } from "./hostile/memory-back.ts";
import { killMs, runIn } from "./hostile.ts";
import { openPython } from "./python.ts";

interface Fuzzed {
  readonly name: string;
  readonly language: Language;
  readonly open: () => Engine;
  /** Programs of random bytes, of random pieces, and with random calls. */
  readonly programs: fc.Arbitrary<string>;
  readonly limits: { readonly wallMs: number; readonly memoryBytes: number };
}

/** The guests that are WebAssembly, whose walls are partly our own code. */
const guests: readonly Fuzzed[] = [
  {
    name: "QuickJS",
    language: "javascript",
    open: () => openQuickjsEngine(),
    programs: toArbitrary(
      scriptTokens,
      fc.integer().map((seed) => toWalk(seed, 2_000)),
    ),
    limits: { wallMs: 300, memoryBytes: 16 << 20 },
  },
  {
    name: "Pyodide",
    language: "python",
    open: () => openPython({ warm: 2 }),
    programs: toArbitrary(
      pythonTokens,
      fc.tuple(fc.constantFrom(...toPrograms), fc.integer()).map(([toProgram, seed]) => toProgram(seed, 5_000)),
    ),
    limits: { wallMs: 1_500, memoryBytes: 32 << 20 },
  },
];

describe.for(guests)("$name with random programs", ({ language, open, programs, limits }) => {
  test("never throws in the host, harms it or lies about its end", { timeout: 60_000 + fuzzMs }, async () => {
    await using canaries = await plantCanaries();
    await using engine = open();
    const isWell = async () =>
      expect(await runIn(engine, language, "1+1")).toMatchObject({ status: "ok", result: 2, stdout: "", stderr: "" });
    await isWell();
    const property = fc.asyncProperty(programs, async (code) => {
      const result = await runIn(engine, language, code, { limits, onCall: echo });
      expectInForm(result, limits.wallMs);
      expectUntouched(canaries, result);
      if (engine.level === "wasm-in-thread") await isWell();
    });
    // Some at least, however slow the machine is; what the first ones make this process load is no loss.
    const tryTen = () => fc.assert(property, { numRuns: 10, endOnFailure: true });
    await tryTen();
    const baseline = collectedRss();
    const end = Date.now() + fuzzMs / guests.length;
    while (Date.now() < end) await tryTen();
    await isWell();
    await expectMemoryBack(baseline);
  });
});

function expectInForm(result: ExecResult, wallMs: number): void {
  expect(["ok", "error", "timeout", "memory", "output", "crashed"]).toContain(result.status);
  expect(result.usage.wallMs).toBeLessThan(wallMs + killMs);
  expect(JSON.parse(JSON.stringify(result.result))).toEqual(result.result);
  expect(result.status === "ok" ? null : result.result).toBeNull();
}

function toArbitrary(tokens: readonly string[], calls: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((list) => Buffer.from(list).toString("latin1"));
  const text = fc.string({ unit: "binary", maxLength: 200 });
  const soup = fc.array(fc.constantFrom(...tokens), { maxLength: 60 });
  return fc.oneof(
    bytes,
    text,
    { arbitrary: soup.map((words) => words.join(" ")), weight: 2 },
    soup.map((words) => words.join("")),
    { arbitrary: calls, weight: 5 },
  );
}

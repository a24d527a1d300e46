import { runInThisContext } from "node:vm";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { evaluate } from "../../src/tools/calculator/evaluate.ts";
import { toResult } from "../../src/tools/calculator/format.ts";
import type { Fraction } from "../../src/tools/calculator/fraction.ts";
import { parseExpression } from "../../src/tools/calculator/parse.ts";
import { plainCases } from "../support/cases.ts";

const compute = (text: string) => evaluate(parseExpression(text), text);

function exactly(text: string): Fraction {
  const value = compute(text);
  if (typeof value === "number") throw new Error(`${text} is not exact`);
  return value;
}

/** The code of the refusal, or undefined when there is none; any other error is thrown. */
function refusal(text: string): string | undefined {
  try {
    compute(text);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof CapstanError) return thrown.code;
    throw thrown;
  }
}

const space = fc.constantFrom("", "", " ", "\t ");

/** Text of whole numbers that JavaScript reads by the same rules, once `^` is `**` and numbers end in `n`. */
const { whole } = fc.letrec<{ whole: string; operand: string; power: string }>((tie) => ({
  whole: fc
    .array(fc.tuple(tie("power"), space, fc.constantFrom("+", "-", "*", "%"), space), { minLength: 0, maxLength: 4 })
    .chain((parts) => tie("power").map((last) => `${parts.flat().join("")}${last}`)),
  power: fc.oneof(
    { weight: 4, arbitrary: tie("operand") },
    {
      weight: 1,
      arbitrary: fc.tuple(tie("operand"), fc.constantFrom("^2", "^3", "^2^2", " ^ 0")).map((p) => p.join("")),
    },
  ),
  operand: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.nat(1_000_000).map(String),
    fc.nat(1_000_000).map((n) => `(-${n})`),
    tie("whole").map((inner) => `(${inner})`),
  ),
}));

/** What the JavaScript engine makes of the text; null for a division by zero. */
function byEngine(text: string): unknown {
  try {
    return runInThisContext(text.replaceAll(/\d+/g, "$&n").replaceAll("^", "**"));
  } catch (thrown) {
    if (thrown instanceof RangeError) return null;
    throw thrown;
  }
}

/** 2^61 - 1. A fraction equals another one modulo it, or differs with a chance of about 2^-61 that this does not show. */
const prime = 2n ** 61n - 1n;
const residue = (n: bigint): bigint => ((n % prime) + prime) % prime;

function modularPower(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let square = residue(base), rest = exponent; rest > 0n; rest >>= 1n, square = residue(square * square)) {
    if ((rest & 1n) === 1n) result = residue(result * square);
  }
  return result;
}

const inverse = (n: bigint): bigint => modularPower(n, prime - 2n);

/** An expression as text and as its value modulo the prime; null where something was divided by zero. */
interface Sample {
  readonly text: string;
  readonly value: bigint | null;
}

const lift = (of: (a: bigint, b: bigint) => bigint | null) => (a: Sample, b: Sample) =>
  a.value === null || b.value === null ? null : of(a.value, b.value);

const operations: Readonly<Record<string, (a: Sample, b: Sample) => bigint | null>> = {
  "+": lift((a, b) => residue(a + b)),
  "-": lift((a, b) => residue(a - b)),
  "*": lift((a, b) => residue(a * b)),
  "/": lift((a, b) => (b === 0n ? null : residue(a * inverse(b)))),
};

const { rational } = fc.letrec<{ rational: Sample }>((tie) => ({
  rational: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.tuple(fc.nat(99_999), fc.nat(4)).map(([digits, decimals]) => ({
      text: `${digits}e-${decimals}`,
      value: residue(BigInt(digits) * inverse(10n ** BigInt(decimals))),
    })),
    fc.tuple(tie("rational"), fc.constantFrom("+", "-", "*", "/"), tie("rational")).map(([a, operator, b]) => ({
      text: `(${a.text})${operator}(${b.text})`,
      value: operations[operator]?.(a, b) ?? null,
    })),
    tie("rational").map(({ text, value }) => ({ text: `-(${text})`, value: value === null ? null : residue(-value) })),
    fc.tuple(tie("rational"), fc.integer({ min: -4, max: 4 })).map(([{ text, value }, exponent]) => ({
      text: `(${text})^${exponent}`,
      value:
        value === null || (value === 0n && exponent < 0)
          ? null
          : modularPower(exponent < 0 ? inverse(value) : value, BigInt(Math.abs(exponent))),
    })),
  ),
}));

describe("an expression", () => {
  test("of whole numbers has the value that JavaScript's BigInt gives it", () => {
    let computed = 0;
    fc.assert(
      fc.property(whole, (text) => {
        const code = refusal(text);
        if (code === "calculator.too_large") return;
        const above = byEngine(text);
        expect(code).toBe(above === null ? "calculator.domain" : undefined);
        if (above === null) return;
        computed += 1;
        expect(exactly(text)).toEqual({ above, over: 1n });
      }),
      { numRuns: plainCases },
    );
    expect(computed).toBeGreaterThan(plainCases / 2);
  });

  test("of decimals and quotients has the value that modular arithmetic gives it, in lowest terms", () => {
    let computed = 0;
    fc.assert(
      fc.property(rational, ({ text, value }) => {
        const code = refusal(text);
        if (code === "calculator.too_large") return;
        expect(code).toBe(value === null ? "calculator.domain" : undefined);
        if (value === null) return;
        computed += 1;
        const { above, over } = exactly(text);
        expect(residue(above * inverse(over))).toBe(value);
        expect(over > 0n).toBe(true);
        expect(shareFactor(above, over)).toBe(false);
      }),
      { numRuns: plainCases },
    );
    expect(computed).toBeGreaterThan(plainCases / 2);
  });

  test("ends in a value or in an error of the calculator, whatever the text", () => {
    const soup = fc.array(
      fc.constantFrom(..."0 1 2 9 + - * / % ^ ! ( ) , . sqrt( round( max( ln( pi e 1e9 x é '".split(" "), " "),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(
        soup.map((parts) => parts.join("")),
        (text) => {
          expect(refusal(text) ?? "calculator.").toMatch(/^calculator\./);
        },
      ),
      { numRuns: plainCases },
    );
  });
});

describe("a result", () => {
  const fraction = fc
    .tuple(fc.bigInt({ min: -(10n ** 45n), max: 10n ** 45n }), fc.bigInt({ min: 1n, max: 10n ** 45n }))
    .map(([above, over]) => `(${above})/${over}`);

  test("is the value itself when it is exact, and within half a unit of its last digit otherwise", () => {
    const exact = { yes: 0, no: 0 };
    const decimal = fc
      .tuple(fc.bigInt({ min: -(10n ** 25n), max: 10n ** 25n }), fc.nat(60))
      .map(([digits, decimals]) => `(${digits})/10^${decimals}`);
    fc.assert(
      fc.property(fc.oneof(fraction, decimal), (text) => {
        const value = exactly(text);
        const shown = toResult(value);
        exact[shown.exact ? "yes" : "no"] += 1;
        const read = exactly(shown.result);
        // |value - read| <= |value| * 5e-30, without fractions.
        const difference = value.above * read.over - read.above * value.over;
        const scale = value.above * read.over;
        expect(absolute(difference) * 10n ** 30n <= absolute(scale) * 5n).toBe(true);
        expect(shown.exact).toBe(difference === 0n);
        expect(shown.fraction === undefined ? value : exactly(shown.fraction)).toEqual(value);
      }),
      { numRuns: plainCases },
    );
    expect(Math.min(exact.yes, exact.no)).toBeGreaterThan(plainCases / 10);
  });

  test("of floor, ceil, trunc and round stands where it must", () => {
    fc.assert(
      fc.property(fraction, (text) => {
        const at = (name: string): bigint => exactly(`${name}(${text})`).above;
        const { above, over } = exactly(text);
        const [floor, ceil, trunc, round] = [at("floor"), at("ceil"), at("trunc"), at("round")];
        expect(floor * over <= above && above < (floor + 1n) * over).toBe(true);
        expect((ceil - 1n) * over < above && above <= ceil * over).toBe(true);
        expect(trunc).toBe(above < 0n ? ceil : floor);
        expect(2n * absolute(round * over - above) <= over).toBe(true);
      }),
      { numRuns: plainCases },
    );
  });
});

const absolute = (n: bigint): bigint => (n < 0n ? -n : n);

function shareFactor(a: bigint, b: bigint): boolean {
  let [larger, smaller] = [absolute(a), b];
  while (smaller !== 0n) [larger, smaller] = [smaller, larger % smaller];
  return larger !== 1n;
}

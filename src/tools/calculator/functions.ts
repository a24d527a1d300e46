import { CapstanError } from "../../core/error.ts";
import type { Fraction } from "./fraction.ts";
import { compare, divide, exactRoot, floor, multiply, negate, power, round } from "./fraction.ts";
import type { Value } from "./value.ts";
import { toNumber } from "./value.ts";

/** A function of an expression. `of` gets `from` to `to` arguments; a NaN from it means that there is no real result. */
interface KnownFunction {
  readonly from: number;
  readonly to: number;
  /** How many arguments, in words. */
  readonly takes: string;
  readonly of: (args: readonly Value[]) => Value;
}

/** Decimal places that `round` takes, on either side of the point. */
const maxPlaces = 100;

const whole = (n: bigint): Fraction => ({ above: n, over: 1n });

/** One argument: exactly where that is possible, else by floating point. */
const ofOne = (
  exact: ((x: Fraction) => Value | undefined) | undefined,
  float: (x: number) => number,
): KnownFunction => ({
  from: 1,
  to: 1,
  takes: "1 argument",
  of: ([x = Number.NaN]) => (typeof x === "number" ? undefined : exact?.(x)) ?? float(toNumber(x)),
});

const ofMany = (prefers: (order: number) => boolean): KnownFunction => ({
  from: 1,
  to: 100,
  takes: "1 to 100 arguments",
  of: (args) => args.reduce((best, next) => (prefers(order(next, best)) ? next : best)),
});

function order(a: Value, b: Value): number {
  return typeof a === "number" || typeof b === "number" ? Math.sign(toNumber(a) - toNumber(b)) : compare(a, b);
}

const awayFromZero = (x: number): number => Math.sign(x) * Math.round(Math.abs(x));

function roundTo([value = Number.NaN, places = whole(0n)]: readonly Value[]): Value {
  if (typeof places === "number" || places.over !== 1n || places.above > maxPlaces || places.above < -maxPlaces) {
    throw new CapstanError("calculator.domain", `round takes whole decimal places from -${maxPlaces} to ${maxPlaces}.`);
  }
  const unit = power(whole(10n), places.above);
  if (typeof value !== "number") return divide(whole(round(multiply(value, unit))), unit);
  const factor = toNumber(unit);
  const scaled = value * factor;
  // Beyond 2^53 a float has no decimal places left to round.
  return Math.abs(scaled) < Number.MAX_SAFE_INTEGER ? awayFromZero(scaled) / factor : value;
}

/** The functions of an expression, by name. Angles are in radians. */
export const functions: ReadonlyMap<string, KnownFunction> = new Map([
  ["abs", ofOne((x) => (x.above < 0n ? negate(x) : x), Math.abs)],
  ["sqrt", ofOne(exactRoot, Math.sqrt)],
  ["cbrt", ofOne(undefined, Math.cbrt)],
  ["floor", ofOne((x) => whole(floor(x)), Math.floor)],
  ["ceil", ofOne((x) => whole(-floor(negate(x))), Math.ceil)],
  ["trunc", ofOne((x) => whole(x.above / x.over), Math.trunc)],
  ["round", { from: 1, to: 2, takes: "1 or 2 arguments", of: roundTo }],
  ["min", ofMany((sign) => sign < 0)],
  ["max", ofMany((sign) => sign > 0)],
  ["exp", ofOne(undefined, Math.exp)],
  ["ln", ofOne(undefined, logarithm(Math.log))],
  ["log2", ofOne(undefined, logarithm(Math.log2))],
  ["log10", ofOne(undefined, logarithm(Math.log10))],
  ["sin", ofOne(undefined, Math.sin)],
  ["cos", ofOne(undefined, Math.cos)],
  ["tan", ofOne(undefined, Math.tan)],
  ["asin", ofOne(undefined, Math.asin)],
  ["acos", ofOne(undefined, Math.acos)],
  ["atan", ofOne(undefined, Math.atan)],
]);

export const constants: ReadonlyMap<string, number> = new Map([
  ["pi", Math.PI],
  ["e", Math.E],
]);

/** The logarithm of 0 is no number, and must not be told as one that is too large. */
function logarithm(of: (x: number) => number): (x: number) => number {
  return (x) => (x > 0 ? of(x) : Number.NaN);
}

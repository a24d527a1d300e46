import { CapstanError } from "../../core/error.ts";

/** An exact number: `over` is positive and shares no factor with `above`. */
export interface Fraction {
  readonly above: bigint;
  readonly over: bigint;
}

/** Decimal digits of a numerator or denominator. */
export const maxDigits = 4_000;
const maxBits = Math.ceil(maxDigits * Math.log2(10));

const one: Fraction = { above: 1n, over: 1n };
const absolute = (n: bigint): bigint => (n < 0n ? -n : n);
const bitsOf = (n: bigint): number => absolute(n).toString(16).length * 4;

/** Throws `calculator.too_large` for a whole number of more digits than are computed. */
export function bounded(n: bigint): bigint {
  if (bitsOf(n) > maxBits + 4) throw tooManyDigits("The number");
  return n;
}

/** The refusal of a number whose size is known before it is computed. */
export function tooManyDigits(what: string, digits?: number): CapstanError {
  const size = digits === undefined ? "more" : `about ${Math.ceil(digits).toLocaleString("en-US")}`;
  return new CapstanError(
    "calculator.too_large",
    `${what} would have ${size} digits; at most ${maxDigits.toLocaleString("en-US")} are computed.`,
  );
}

/** `above / over` in lowest terms. `over` must not be 0. Throws `calculator.too_large`. */
export function toFraction(above: bigint, over: bigint): Fraction {
  if (over === 1n) return { above: bounded(above), over };
  const shared = greatestDivisor(absolute(above), absolute(over));
  const sign = over < 0n ? -1n : 1n;
  return { above: bounded((sign * above) / shared), over: bounded((sign * over) / shared) };
}

/** What it costs to bring a result to lowest terms, in units of about a microsecond: Euclid's steps times their length. */
export function costOf({ above, over }: Fraction): number {
  return over === 1n ? 1 : 1 + (bitsOf(above) * bitsOf(over)) / 30_000;
}

export const add = (a: Fraction, b: Fraction): Fraction =>
  toFraction(a.above * b.over + b.above * a.over, a.over * b.over);

export const negate = ({ above, over }: Fraction): Fraction => ({ above: -above, over });

export const multiply = (a: Fraction, b: Fraction): Fraction => toFraction(a.above * b.above, a.over * b.over);

/** Throws `calculator.domain` when `b` is 0. */
export function divide(a: Fraction, b: Fraction): Fraction {
  if (b.above === 0n) throw new CapstanError("calculator.domain", "Division by zero has no result.");
  return toFraction(a.above * b.over, a.over * b.above);
}

/** What is left of `a` after a whole number of `b`, with the sign of `a`: -7 % 3 is -1. Throws `calculator.domain` when `b` is 0. */
export function remainder(a: Fraction, b: Fraction): Fraction {
  if (b.above === 0n) throw new CapstanError("calculator.domain", "A remainder of division by zero has no result.");
  return toFraction((a.above * b.over) % (b.above * a.over), a.over * b.over);
}

/** A whole power. Refused before it is computed when it would be too large. Throws `calculator.domain` for 0 to a negative power. */
export function power(base: Fraction, exponent: bigint): Fraction {
  if (exponent < 0n) return power(divide(one, base), -exponent);
  const digitsOfBase = Math.max(logOf(base.above), logOf(base.over));
  // 0, 1 and -1 stay small to any power, even to one that is too long for the engine.
  if (digitsOfBase === 0) return exponent === 0n ? one : { above: base.above ** (2n - (exponent % 2n)), over: 1n };
  const digits = digitsOfBase * Number(exponent);
  if (digits > maxDigits) throw tooManyDigits(`A number to the power of ${shorten(exponent)}`, digits);
  return { above: bounded(base.above ** exponent), over: bounded(base.over ** exponent) };
}

export const compare = (a: Fraction, b: Fraction): number => {
  const left = a.above * b.over;
  const right = b.above * a.over;
  return left < right ? -1 : left > right ? 1 : 0;
};

/** The largest whole number that is not greater. */
export function floor({ above, over }: Fraction): bigint {
  const quotient = above / over;
  return above < 0n && quotient * over !== above ? quotient - 1n : quotient;
}

/** The nearest whole number; halves go away from zero. */
export function round({ above, over }: Fraction): bigint {
  const nearest = (2n * absolute(above) + over) / (2n * over);
  return above < 0n ? -nearest : nearest;
}

/** The exact square root, where there is one. */
export function exactRoot({ above, over }: Fraction): Fraction | undefined {
  if (above < 0n) return undefined;
  const top = wholeRoot(above);
  const bottom = wholeRoot(over);
  return top * top === above && bottom * bottom === over ? { above: top, over: bottom } : undefined;
}

/** The nearest floating-point number to within its last digits; infinite beyond its range. */
export function toFloat({ above, over }: Fraction): number {
  if (above === 0n) return 0;
  // Scaled so that the quotient holds at least 64 bits, then back in two steps: one alone may leave the range on the way.
  const shift = bitsOf(over) - bitsOf(above) + 68;
  const quotient = shift >= 0 ? (above << BigInt(shift)) / over : above / (over << BigInt(-shift));
  const half = Math.trunc(-shift / 2);
  return Number(quotient) * 2 ** half * 2 ** (-shift - half);
}

/** The decimal logarithm of the absolute value, to about 15 digits; 0 for 0. */
export function logOf(n: bigint): number {
  if (n === 0n) return 0;
  const digits = absolute(n).toString();
  const lead = digits.slice(0, 17);
  return Math.log10(Number(lead)) + digits.length - lead.length;
}

function greatestDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}

/** Newton's method on whole numbers, from above. */
function wholeRoot(n: bigint): bigint {
  if (n < 2n) return n;
  let guess = 1n << BigInt(Math.ceil(bitsOf(n) / 2));
  for (;;) {
    const better = (guess + n / guess) / 2n;
    if (better >= guess) return guess;
    guess = better;
  }
}

const shorten = (n: bigint): string => {
  const digits = n.toString();
  return digits.length <= 20 ? digits : `${digits.slice(0, 6)}… (${digits.length} digits)`;
};

import type { Fraction } from "./fraction.ts";
import { logOf, round } from "./fraction.ts";
import type { Value } from "./value.ts";

/** Significant digits of a fraction. */
const fractionDigits = 30n;
/** Significant digits of an approximate result: one or two fewer than a float has, so that rounding noise does not show. */
const floatDigits = 15;

/**
 * A result in words. `exact`: `result` is the value itself. Otherwise it is rounded, and `fraction` is the exact value where that is
 * known.
 */
export interface Result {
  readonly result: string;
  readonly exact: boolean;
  readonly fraction?: string;
}

/** Writes a value as decimal digits: whole numbers in full, fractions to 30 significant digits, approximate ones to 15. */
export function toResult(value: Value): Result {
  // Adding 0 makes -0 a plain 0.
  if (typeof value === "number") return { result: String(Number(value.toPrecision(floatDigits)) + 0), exact: false };
  if (value.over === 1n) return { result: value.above.toString(), exact: true };
  const exponent = BigInt(Math.floor(logOf(value.above) - logOf(value.over)));
  const places = fractionDigits - 1n - exponent;
  const scaled = shift(value, places);
  const digits = round(scaled);
  const result = write(digits, places);
  return digits * scaled.over === scaled.above
    ? { result, exact: true }
    : { result, exact: false, fraction: `${value.above}/${value.over}` };
}

const shift = ({ above, over }: Fraction, places: bigint): Fraction =>
  places >= 0n ? { above: above * 10n ** places, over } : { above, over: over * 10n ** -places };

/** The number `digits / 10^places`, with an exponent where the point would stand far from the digits. */
function write(digits: bigint, places: bigint): string {
  const sign = digits < 0n ? "-" : "";
  const text = (digits < 0n ? -digits : digits).toString();
  const exponent = BigInt(text.length - 1) - places;
  if (exponent < -7n || places < 1n) {
    return `${sign}${trim(`${text.slice(0, 1)}.${text.slice(1)}`)}e${exponent}`;
  }
  const decimals = Number(places);
  const padded = text.padStart(decimals + 1, "0");
  return `${sign}${trim(`${padded.slice(0, padded.length - decimals)}.${padded.slice(padded.length - decimals)}`)}`;
}

const trim = (decimal: string): string => decimal.replace(/\.?0+$/, "");

import { CapstanError } from "../../core/error.ts";
import type { Fraction } from "./fraction.ts";
import { toFloat } from "./fraction.ts";

/** An exact number, or a floating-point number where no exact one exists (roots, logarithms, angles). */
export type Value = Fraction | number;

/** A value as a floating-point number. Throws `calculator.too_large` where that has no room for it. */
export function toNumber(value: Value): number {
  const float = typeof value === "number" ? value : toFloat(value);
  if (Number.isFinite(float)) return float;
  throw new CapstanError(
    "calculator.too_large",
    "A number above 1.8e308 has an exact sum, product and whole power, but no approximate result.",
  );
}

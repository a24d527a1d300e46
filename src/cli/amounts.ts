import { CapstanError } from "../core/error.ts";

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `15m`, `2h`, `7d` or `500ms` as milliseconds. Throws `usage.bad_option`. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const unit = units[match?.[2] ?? ""];
  const value = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!Number.isSafeInteger(value) || value === 0) {
    throw new CapstanError(
      "usage.bad_option",
      `A duration is a number above 0 with ms, s, m, h or d, such as 15m, not "${text}".`,
    );
  }
  return value;
}

/** A whole number, 0 or more. Throws `usage.bad_option`. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || !Number.isSafeInteger(value)) {
    throw new CapstanError("usage.bad_option", `Expected a whole number, 0 or more, not "${text}".`);
  }
  return value;
}

/** An amount in US dollars, such as `0.50`, as millionths. Throws `usage.bad_option`. */
export function parseMicroUsd(text: string, option = "--cost-usd"): number {
  const value = Number(text);
  if (!/^[\d.]{1,12}$/.test(text) || !(value <= 1e6)) {
    throw new CapstanError(
      "usage.bad_option",
      `${option} takes an amount in US dollars such as 0.50, not ${JSON.stringify(text.slice(0, 80))}.`,
    );
  }
  return Math.round(value * 1e6);
}

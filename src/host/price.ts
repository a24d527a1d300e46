import type { Usage } from "../core/event.ts";
import { canonicalJson } from "../core/json.ts";
import type { Amounts } from "../core/limits.ts";
import type { Price } from "./config.ts";
import type { ModelRequest } from "./provider.ts";

/** What is reserved for an answer whose length nobody bounded, in tokens. */
const assumedOutputTokens = 4_096;

/** About how many tokens a text has: four bytes each, which is near enough for a reservation and for servers that count nothing. */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / 4);
}

/** The usage of a request before it is made: its whole context as input, and the longest answer. */
export function estimateUsage({
  system = "",
  messages,
  tools,
  maxOutputTokens = assumedOutputTokens,
}: ModelRequest): Usage {
  const inputUncached =
    estimateTokens(system) + estimateTokens(canonicalJson(messages)) + estimateTokens(canonicalJson(tools));
  return { inputUncached, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: maxOutputTokens, reasoning: 0 };
}

/** What usage costs, in whole micro-dollars, rounded up. Cached input without a price of its own costs as input does. */
export function toCostMicroUsd(usage: Usage, price: Price | undefined): number {
  if (price === undefined) return 0;
  const { input, output, cacheRead = input, cacheWrite5m = input, cacheWrite1h = input } = price;
  return Math.ceil(
    usage.inputUncached * input +
      usage.cacheRead * cacheRead +
      usage.cacheWrite5m * cacheWrite5m +
      usage.cacheWrite1h * cacheWrite1h +
      (usage.output + usage.reasoning) * output,
  );
}

/** Usage and its cost as amounts of the ledger; a model call is no tool call, so `calls` is 0. */
export function toAmounts(usage: Usage, price: Price | undefined): Amounts {
  const tokens = Object.values(usage).reduce((sum, part) => sum + part, 0);
  return { calls: 0, tokens, costMicroUsd: toCostMicroUsd(usage, price) };
}

import type { Usage } from "../core/event.ts";
import type { Amounts } from "../core/limits.ts";
import type { HostConfig, Price } from "./config.ts";
import type { ModelRequest } from "./provider.ts";

/** What is reserved for an answer whose length nobody bounded, in tokens. */
const assumedOutputTokens = 4_096;

/** About how many tokens a text has: four bytes each, which is near enough for a reservation and for servers that count nothing. */
export function estimateTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / 4);
}

const estimates = new WeakMap<object, number>();

/** Messages and tools never change, so each is measured once. */
function estimateOnce(part: object): number {
  const known = estimates.get(part);
  if (known !== undefined) return known;
  // What was said stands in the raw form once more.
  const tokens = estimateTokens(JSON.stringify({ ...part, raw: undefined }, withSmallImages));
  estimates.set(part, tokens);
  return tokens;
}

/** Models see an image as one or two thousand tokens, however many bytes it has. */
const imageChars = 8_000;

function withSmallImages(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("data" in value) || typeof value.data !== "string") return value;
  return "type" in value && value.type === "image" ? { ...value, data: value.data.slice(0, imageChars) } : value;
}

/**
 * The usage of a request before it is made: its whole context as input, and the longest answer that the settings allow, or, where they
 * say nothing, the one that is assumed; never more than the model takes in, where that is known.
 */
export function estimateUsage({
  system = "",
  messages,
  tools,
  settings,
  windowTokens = Infinity,
}: ModelRequest): Usage {
  const inputUncached = [...messages, ...tools].reduce((sum, part) => sum + estimateOnce(part), estimateTokens(system));
  return {
    inputUncached,
    cacheRead: 0,
    cacheWrite5m: 0,
    cacheWrite1h: 0,
    output: Math.min(settings.maxOutputTokens ?? assumedOutputTokens, windowTokens),
    reasoning: 0,
  };
}

/** The price of a model; of a route the highest of each kind among its models, so that what is reserved is enough for each. */
export function priceOf({ prices, routes }: Pick<HostConfig, "prices" | "routes">, model: string): Price | undefined {
  const route = Object.hasOwn(routes, model) ? routes[model] : undefined;
  if (route === undefined) return Object.hasOwn(prices, model) ? prices[model] : undefined;
  const all = route.models.flatMap((one) => priceOf({ prices, routes: {} }, one) ?? []);
  if (all.length === 0) return undefined;
  const highest = (kind: keyof Price): number => Math.max(...all.map((price) => price[kind] ?? price.input));
  return {
    input: highest("input"),
    output: highest("output"),
    cacheRead: highest("cacheRead"),
    cacheWrite5m: highest("cacheWrite5m"),
    cacheWrite1h: highest("cacheWrite1h"),
  };
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

/** The estimate of a request as amounts of the ledger, at the dearest price that input may have: some is written to the provider's cache. */
export function estimateAmounts(request: ModelRequest, price: Price | undefined): Amounts {
  const { input = 0, cacheWrite5m = 0, cacheWrite1h = 0 } = price ?? {};
  const dearest = price === undefined ? undefined : { ...price, input: Math.max(input, cacheWrite5m, cacheWrite1h) };
  return toAmounts(estimateUsage(request), dearest);
}

/** Usage and its cost as amounts of the ledger; a model call is no tool call, so `calls` is 0. */
export function toAmounts(usage: Usage, price: Price | undefined): Amounts {
  const tokens = Object.values(usage).reduce((sum, part) => sum + part, 0);
  return { calls: 0, tokens, costMicroUsd: toCostMicroUsd(usage, price) };
}

import { z } from "zod";
import type { HostConfig } from "../config.ts";
import type { Provider } from "../provider.ts";

/** What is known of models, by their names as in `--model`. */
export const Models = z.record(
  z.string(),
  z.strictObject({
    /** How many tokens it takes in, its answer included. Missing: unknown, and nothing is summed up before the model says that it is full. */
    windowTokens: z.int().min(1_000).exactOptional(),
  }),
);

/** About how many tokens of one tool result a model reads at once; it can read on in the rest. */
export const ResultTokens = z.int().min(200).max(1_000_000).default(8_000);

/**
 * What a new run has on record about its context. Of a route, the smallest window counts that is known. Where there is no model behind
 * the provider, nothing is cut and nothing summed up.
 */
export function toContextRules(
  { models, routes, resultTokens, providers }: Pick<HostConfig, "models" | "routes" | "resultTokens" | "providers">,
  model: string,
  { metered }: Pick<Provider, "metered">,
): { readonly windowTokens?: number; readonly resultTokens?: number } {
  if (!metered) return {};
  const names = (Object.hasOwn(routes, model) ? routes[model]?.models : undefined) ?? [model];
  const windows = names.flatMap((name) => {
    const [endpoint = ""] = name.split(":", 1);
    const known = Object.hasOwn(models, name) ? models[name]?.windowTokens : undefined;
    // The context that Ollama is told to load a model with is its window.
    return known ?? (Object.hasOwn(providers, endpoint) ? providers[endpoint]?.contextTokens : undefined) ?? [];
  });
  return { ...(windows.length === 0 ? {} : { windowTokens: Math.min(...windows) }), resultTokens };
}

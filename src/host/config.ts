import { z } from "zod";
import { longestMs } from "../core/clock.ts";

/** The name under which an endpoint of one's own is addressed: `NAME:MODEL`. */
const endpointName = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, "a name is small letters, digits and hyphens");

/** Whether text is an http or https URL without a user name and a password, which would end in logs. */
export function isBaseUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}

const BaseUrl = z.string().refine(isBaseUrl, {
  error: "a base URL begins with http:// or https:// and holds no password; apiKeyEnv names the variable with the key",
});

/** An endpoint that speaks Chat Completions. */
export const Endpoint = z.strictObject({
  /** Up to and without `/chat/completions`; most end in `/v1`. Missing: `--base-url` names it. */
  baseUrl: BaseUrl.optional(),
  /** The environment variable that holds the key, which is sent to `baseUrl` alone. Missing: no key is sent. */
  apiKeyEnv: z.string().min(1).optional(),
  /** How long the endpoint may stay silent, in ms, before a call counts as failed. */
  silenceMs: z.int().min(100).max(longestMs).default(120_000),
});
export type Endpoint = Readonly<z.infer<typeof Endpoint>>;

/** What a model costs, in US dollars per million tokens, which is micro-dollars per token. Reasoning costs as output does. */
const Price = z.strictObject({
  input: z.number().min(0),
  output: z.number().min(0),
  cacheRead: z.number().min(0).optional(),
  cacheWrite5m: z.number().min(0).optional(),
  cacheWrite1h: z.number().min(0).optional(),
});
export type Price = Readonly<z.infer<typeof Price>>;

/** The limits of each run, where its own say nothing else. */
const DefaultLimits = z.strictObject({
  turns: z.int().min(1).default(20),
  timeMs: z.int().min(1).max(longestMs).default(600_000),
  /** One US dollar. */
  costMicroUsd: z.int().min(0).default(1_000_000),
  depth: z.int().min(0).default(3),
  parallel: z.int().min(1).max(32).default(4),
});

/** The `host` part of the config: the default model, the limits of runs, the endpoints of models and their prices. */
export const HostConfig = z.strictObject({
  model: z.string().min(1).default("planner"),
  limits: DefaultLimits.prefault({}),
  /** The most tokens of one answer. Missing: the endpoint decides. */
  maxOutputTokens: z.int().min(1).optional(),
  /** Endpoints by name; `openai-compatible` is the one that `openai-compatible:MODEL` means. */
  providers: z.record(endpointName, Endpoint).default({}),
  /** By model as in `--model`, `openai-compatible:NAME`. A model without a price counts as free. */
  prices: z.record(z.string(), Price).default({}),
});
export type HostConfig = Readonly<z.infer<typeof HostConfig>>;

import { z } from "zod";
import { ModelSettings } from "../core/event.ts";
import { AgentConfigs } from "./agents/config.ts";
import { longestMs } from "../core/clock.ts";
import { Models, ResultTokens } from "./context/config.ts";
import { GuardrailsConfig } from "./guardrails/rules.ts";
import { LogLevel } from "./telemetry/logger.ts";
import { Cache, Circuit, Pacing, Retries, Route, routeProblems } from "./policies/config.ts";
import { TextCallFormat } from "./text-calls/format.ts";

/** The name under which an endpoint of one's own is addressed: `NAME:MODEL`. */
const endpointName = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, "a name is small letters, digits and hyphens");

/** Whether text is an http or https URL without a user name and a password, which would end in logs. */
export function isBaseUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.username === "" && url.password === "";
}

/** The same of an endpoint of models: the path of a call is put behind it, so nothing may follow its own. */
export const BaseUrl = z.string().refine((text) => isBaseUrl(text) && !/[?#]/.test(text), {
  error:
    "a base URL begins with http:// or https:// and holds no password and no ?; apiKeyEnv names the variable with the key",
});

/** What an endpoint may speak; `providers/all.ts` has one line for each. */
export const WireType = z.enum(["openai", "openai-compatible", "anthropic", "ollama"]);
export type WireType = z.infer<typeof WireType>;

/** An endpoint of models. */
export const Endpoint = z.strictObject({
  /** Missing: the type of the same name, else `openai-compatible`. */
  type: WireType.exactOptional(),
  /** Without the path of a single call; those of OpenAI's APIs mostly end in `/v1`. Missing: the type's own, else `--base-url` names it. */
  baseUrl: BaseUrl.optional(),
  /**
   * The environment variable that holds the key, which is sent to `baseUrl` alone. Missing: the type's own where the URL is the type's own
   * too, else no key is sent.
   */
  apiKeyEnv: z.string().min(1).optional(),
  /** How long the endpoint may stay silent, in ms, before a call counts as failed. Node's own fetch waits no longer than five minutes. */
  silenceMs: z.int().min(100).max(300_000).default(120_000),
  /** Of type `ollama`: how many tokens of context the model is loaded with. Missing: the run's window, else the server's own choice. */
  contextTokens: z.int().min(1).exactOptional(),
  /** Of type `ollama`: how long the model stays loaded after a call: `1h30m`, seconds, `-1` for ever. Missing: the server's own choice. */
  keepAlive: z
    .union([z.number().min(-1).max(1e9), z.string().regex(/^-?(?:\d+(?:\.\d+)?|(?:\d+(?:\.\d+)?(?:ms|s|m|h))+)$/)], {
      error: "a time is a number of seconds, or numbers with ms, s, m or h",
    })
    .exactOptional(),
  /** How its models write tool calls: `native` by the API, else as text in this form. */
  toolCalls: z.enum(["native", ...TextCallFormat.options]).default("native"),
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
export const HostConfig = z
  .strictObject({
    model: z.string().min(1).default("planner"),
    limits: DefaultLimits.prefault({}),
    /** How every model answers, where an agent or a run says nothing else. */
    settings: ModelSettings.prefault({}),
    /** Endpoints by name; `openai-compatible` is the one that `openai-compatible:MODEL` means. */
    providers: z.record(endpointName, Endpoint).default({}),
    /** By model as in `--model`, `openai-compatible:NAME`. A model without a price counts as free. */
    prices: z.record(z.string(), Price).default({}),
    models: Models.default({}),
    resultTokens: ResultTokens,
    /** How many runs go on at a time in one process, and how long another waits for its place. Runs within a run are not counted. */
    concurrency: z
      .strictObject({
        runs: z.int().min(1).default(1_000),
        queueMs: z.int().min(0).max(longestMs).default(60_000),
      })
      .prefault({}),
    /** How runs, and calls of MCP clients, are observed. */
    telemetry: z
      .strictObject({
        /** From which level on records are written to stderr as lines of JSON; `CAPSTAN_LOG` stands before it. */
        logs: LogLevel.default("off"),
        /** What people, models and tools said stands in spans too. */
        content: z.boolean().default(false),
      })
      .prefault({}),
    /** Agents by name, as in `--agent`. */
    agents: AgentConfigs.default({}),
    /** Models that stand in for each other, by the name that stands for them in `--model`. */
    routes: z.record(endpointName, Route).default({}),
    retries: Retries.prefault({}),
    /** By endpoint, as before the colon in `--model`. */
    pacing: z.record(endpointName, Pacing).default({}),
    circuit: Circuit.prefault({}),
    cache: Cache.prefault({}),
    /** The rules of every run; an agent and a run can only add to them. */
    guardrails: GuardrailsConfig.default({}),
  })
  .superRefine(({ routes, providers, pacing }, context) => {
    const isEndpoint = (name: string): boolean => Object.hasOwn(providers, name) || WireType.safeParse(name).success;
    for (const { path, message } of routeProblems(routes, isEndpoint)) {
      context.addIssue({ code: "custom", path: ["routes", ...path], message });
    }
    for (const name of Object.keys(pacing).filter((one) => !isEndpoint(one))) {
      const message = `no endpoint is called "${name}"; name it under host.providers`;
      context.addIssue({ code: "custom", path: ["pacing", name], message });
    }
  });
export type HostConfig = Readonly<z.infer<typeof HostConfig>>;

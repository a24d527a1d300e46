import { CapstanError } from "../../core/error.ts";
import type { HostConfig } from "../config.ts";
import { BaseUrl, Endpoint, WireType } from "../config.ts";
import type { Provider } from "../provider.ts";
import { withTextCalls } from "../text-calls/with-text-calls.ts";
import { anthropic } from "./anthropic.ts";
import { ollama } from "./ollama.ts";
import { openaiCompatible } from "./openai-compatible.ts";
import { openaiResponses } from "./openai-responses.ts";
import { openPlanner } from "./planner.ts";
import type { Dialect } from "./wire.ts";
import { speak } from "./wire.ts";

/** One kind of endpoint: how it is spoken to, where the makers of the API serve it, and where people keep the key for that. */
interface Wire {
  readonly toDialect: (endpoint: Endpoint) => Dialect;
  readonly baseUrl?: string;
  readonly apiKeyEnv?: string;
}

const wires: Readonly<Record<WireType, Wire>> = {
  openai: { toDialect: () => openaiResponses, baseUrl: "https://api.openai.com/v1", apiKeyEnv: "OPENAI_API_KEY" },
  "openai-compatible": { toDialect: () => openaiCompatible },
  anthropic: {
    toDialect: () => anthropic,
    baseUrl: "https://api.anthropic.com",
    apiKeyEnv: "ANTHROPIC_API_KEY",
  },
  ollama: { toDialect: ollama, baseUrl: "http://127.0.0.1:11434" },
};

/** The types of endpoints whose key has a usual place, by the variable that holds it. */
export const keyVariables: readonly (readonly [variable: string, type: string])[] = Object.entries(wires).flatMap(
  ([type, { apiKeyEnv }]) => (apiKeyEnv === undefined ? [] : [[apiKeyEnv, type] as const]),
);

export interface ProviderSources {
  readonly config: HostConfig;
  /** Where keys are found, under the names that the config gives; nothing else is read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--base-url`: stands in for the config's. */
  readonly baseUrl?: string | undefined;
}

/**
 * The provider of a model as `--model` names it: `planner`, `TYPE:NAME` for a type of endpoint, or `ENDPOINT:NAME` for an endpoint of the
 * config. SDKs are loaded at the first call. Throws `provider.unknown`, `provider.sign_in` for a key that is not there.
 */
export function openProvider(model: string, sources: ProviderSources): Provider {
  const { provider, name } = toModelName(model);
  if (provider === "planner") return openPlanner();
  const endpoint = name === "" ? undefined : findEndpoint(provider, sources.config);
  if (endpoint !== undefined) {
    const opened = openEndpoint(provider, endpoint, sources);
    return endpoint.toolCalls === "native" ? opened : withTextCalls(opened, endpoint.toolCalls);
  }
  throw unknown(model, sources.config);
}

/** An endpoint of the config, or the defaults of the type of that name. */
function findEndpoint(name: string, { providers }: HostConfig): Endpoint | undefined {
  if (Object.hasOwn(providers, name)) return providers[name];
  return Object.hasOwn(wires, name) ? Endpoint.parse({}) : undefined;
}

/** The two halves of a model's name: before and after its first colon. */
export function toModelName(model: string): { readonly provider: string; readonly name: string } {
  const colon = model.indexOf(":");
  return colon < 0 ? { provider: model, name: "" } : { provider: model.slice(0, colon), name: model.slice(colon + 1) };
}

function openEndpoint(name: string, endpoint: Endpoint, { env, baseUrl: given }: ProviderSources): Provider {
  const { toDialect, ...own } = wires[toWireType(name, endpoint)];
  const dialect = toDialect(endpoint);
  const { silenceMs, baseUrl: named = own.baseUrl } = endpoint;
  const baseUrl = given ?? named;
  if (baseUrl === undefined) {
    throw new CapstanError(
      "provider.unknown",
      `${name} needs a base URL. Add --base-url http://127.0.0.1:8000/v1 (or wherever it listens), or set host.providers.${name}.baseUrl in capstan.yaml.`,
    );
  }
  if (!BaseUrl.safeParse(baseUrl).success) {
    throw new CapstanError(
      "usage.bad_option",
      "--base-url takes an http or https URL without a user name, a password and a query.",
    );
  }
  const { apiKeyEnv = named === own.baseUrl ? own.apiKeyEnv : undefined } = endpoint;
  // A key belongs to the URL that the config names beside it, or to the type's own: another URL never gets it.
  if (apiKeyEnv === undefined || baseUrl !== named) return speak(dialect, { name, baseUrl, silenceMs });
  // As it is sent: `fetch` takes spaces and line ends around a header away, and what an endpoint quotes of the key is looked for.
  const apiKey = env[apiKeyEnv]?.trim() ?? "";
  if (/[^\u0021-\u007e]/.test(apiKey)) {
    const message = `The key in ${apiKeyEnv} holds a space, a line end or a letter that no key has. Set it anew.`;
    throw new CapstanError("provider.sign_in", message);
  }
  if (apiKey !== "") return speak(dialect, { name, baseUrl, silenceMs, apiKey, apiKeyEnv });
  throw new CapstanError("provider.sign_in", `No key for ${name}. Set ${apiKeyEnv}, or see \`capstan doctor\`.`);
}

function toWireType(name: string, { type }: Endpoint): WireType {
  return type ?? WireType.safeParse(name).data ?? "openai-compatible";
}

function unknown(model: string, { providers, routes }: HostConfig): CapstanError {
  const types = Object.entries(wires).map(
    ([type, { baseUrl }]) => `${type}:MODEL${baseUrl === undefined ? " with --base-url URL" : ""}`,
  );
  const endpoints = Object.keys(providers).filter((name) => !Object.hasOwn(wires, name));
  const own = [...endpoints.map((name) => `${name}:MODEL`), ...Object.keys(routes)].map(
    (name) => `${name} (from your config)`,
  );
  const known = ["planner (no model, no key)", ...types, ...own].join("; ");
  return new CapstanError(
    "provider.unknown",
    `There is no model "${model}". There are: ${known}. More endpoints: host.providers in capstan.yaml.`,
  );
}

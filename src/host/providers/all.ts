import { CapstanError } from "../../core/error.ts";
import type { HostConfig } from "../config.ts";
import { Endpoint, isBaseUrl } from "../config.ts";
import type { Provider } from "../provider.ts";
import { openaiCompatible } from "./openai-compatible.ts";
import { openPlanner } from "./planner.ts";

export interface ProviderSources {
  readonly config: HostConfig;
  /** Where keys are found, under the names that the config gives; nothing else is read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--base-url`: stands in for the config's. */
  readonly baseUrl?: string | undefined;
}

/**
 * The provider of a model as `--model` names it: `planner`, `openai-compatible:NAME`, or `ENDPOINT:NAME` for an endpoint of the config.
 * SDKs are loaded at the first call. Throws `provider.unknown`, `provider.sign_in` for a key that is not there.
 */
export function openProvider(model: string, sources: ProviderSources): Provider {
  const { provider, name } = toModelName(model);
  if (provider === "planner") return openPlanner();
  const { providers } = sources.config;
  const configured = Object.hasOwn(providers, provider) ? providers[provider] : undefined;
  if (name !== "" && (provider === "openai-compatible" || configured !== undefined)) {
    return openEndpoint(provider, configured ?? Endpoint.parse({}), sources);
  }
  throw unknown(model, Object.keys(providers));
}

/** The two halves of a model's name: before and after its first colon. */
export function toModelName(model: string): { readonly provider: string; readonly name: string } {
  const colon = model.indexOf(":");
  return colon < 0 ? { provider: model, name: "" } : { provider: model.slice(0, colon), name: model.slice(colon + 1) };
}

function openEndpoint(name: string, endpoint: Endpoint, { env, baseUrl }: ProviderSources): Provider {
  const url = baseUrl ?? endpoint.baseUrl;
  if (url === undefined) {
    throw new CapstanError(
      "provider.unknown",
      `${name} needs a base URL. Add --base-url http://127.0.0.1:11434/v1 (Ollama's), or set host.providers.${name}.baseUrl in capstan.yaml.`,
    );
  }
  if (!isBaseUrl(url)) {
    throw new CapstanError(
      "usage.bad_option",
      "--base-url takes an http or https URL without a user name and a password.",
    );
  }
  const { apiKeyEnv, silenceMs } = endpoint;
  // A key belongs to the URL that the config names beside it: another URL never gets it.
  if (apiKeyEnv === undefined || url !== endpoint.baseUrl) return openaiCompatible({ name, baseUrl: url, silenceMs });
  const apiKey = env[apiKeyEnv];
  if (apiKey !== undefined && apiKey !== "") return openaiCompatible({ name, baseUrl: url, silenceMs, apiKey });
  throw new CapstanError("provider.sign_in", `No key for ${name}. Set ${apiKeyEnv}, or see \`capstan doctor\`.`);
}

function unknown(model: string, configured: readonly string[]): CapstanError {
  const own = configured
    .filter((name) => name !== "openai-compatible")
    .map((name) => `${name}:MODEL (from your config)`);
  const known = ["planner (no model, no key)", "openai-compatible:MODEL with --base-url URL", ...own].join("; ");
  return new CapstanError(
    "provider.unknown",
    `There is no model "${model}". There are: ${known}. More endpoints: host.providers in capstan.yaml.`,
  );
}

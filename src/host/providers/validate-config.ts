import { toCapstanError } from "../../core/error.ts";
import type { JsonSchema } from "../../core/json.ts";
import type { ModelSettings } from "../../core/event.ts";
import type { HostConfig } from "../config.ts";
import type { Provider } from "../provider.ts";
import type { ProviderSources } from "./all.ts";
import { openProvider, toModelName } from "./all.ts";

/** What was found out about a model or an endpoint that the config names. */
export interface ModelFinding {
  /** `model NAME`, as in `--model`, or `endpoint NAME`. */
  readonly name: string;
  /** Why it can't work as it is configured, in sentences; empty: nothing speaks against it. */
  readonly problems: readonly string[];
  /** What is worth knowing, in sentences. */
  readonly notes: readonly string[];
}

/** A model with the settings under which somebody in the config asks it. */
interface Use {
  readonly model: string;
  /** Who names it. */
  readonly by: string;
  readonly settings: ModelSettings;
  readonly answerSchema?: JsonSchema;
}

/**
 * Looks at the default model, at those of routes and agents, and at the endpoints of the config, without asking any of them: whether there
 * is such a provider, with a base URL and a key, which settings its wire can't say, and whether it has a price.
 */
export function validateConfig(sources: ProviderSources): readonly ModelFinding[] {
  const { config } = sources;
  const uses = toUses(config);
  const models = [...new Set(uses.map(({ model }) => model))].filter((model) => model !== "planner");
  const found = models.map((model) =>
    findModel(
      uses.filter((use) => use.model === model),
      model,
      sources,
    ),
  );
  const idle = Object.keys(config.providers).filter(
    (name) => !models.some((model) => toModelName(model).provider === name),
  );
  return [...found, ...idle.map((name) => findEndpoint(name, sources))];
}

function toUses({ model, settings, agents, routes }: HostConfig): readonly Use[] {
  const uses: readonly Use[] = [
    { model, by: "host.model", settings },
    ...Object.entries(agents).map(([name, agent]) => ({
      model: agent.model ?? model,
      by: `agent ${name}`,
      settings: { ...settings, ...agent.settings },
      ...(agent.answerSchema === undefined ? {} : { answerSchema: agent.answerSchema.schema }),
    })),
    ...Object.keys(routes).map((name) => ({ model: name, by: `route ${name}`, settings })),
  ];
  return uses.flatMap((use) => {
    const route = Object.hasOwn(routes, use.model) ? routes[use.model] : undefined;
    return route === undefined ? [use] : route.models.map((one) => ({ ...use, model: one }));
  });
}

function findModel(uses: readonly Use[], model: string, sources: ProviderSources): ModelFinding {
  const name = `model ${model}`;
  const named = `Named by ${[...new Set(uses.map(({ by }) => by))].join(", ")}.`;
  try {
    const provider = openProvider(model, sources);
    const problems = uses.flatMap((use) => findProblems(use, provider));
    const isFree = !Object.hasOwn(sources.config.prices, model);
    const price = isFree ? ["It has no price in host.prices, so it counts as free."] : [];
    return { name, problems, notes: [named, ...price] };
  } catch (thrown) {
    return { name, problems: [toCapstanError(thrown).message], notes: [named] };
  }
}

function findProblems({ model, by, settings, answerSchema }: Use, provider: Provider): readonly string[] {
  const asked = { model: toModelName(model).name, settings, ...(answerSchema === undefined ? {} : { answerSchema }) };
  return (provider.validate?.(asked) ?? []).map((problem) => `${by}: ${problem}`);
}

/** An endpoint of which no model is named: what any model of it would need. */
function findEndpoint(endpoint: string, sources: ProviderSources): ModelFinding {
  const name = `endpoint ${endpoint}`;
  try {
    openProvider(`${endpoint}:MODEL`, sources);
    return { name, problems: [], notes: [`--model ${endpoint}:NAME asks a model there.`] };
  } catch (thrown) {
    return { name, problems: [toCapstanError(thrown).message], notes: [] };
  }
}

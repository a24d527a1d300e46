import { LRUCache } from "lru-cache";
import type { Clock } from "../../core/clock.ts";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import { openSlots } from "../../core/slots.ts";
import type { HostConfig } from "../config.ts";
import type { ModelRequest, Provider } from "../provider.ts";
import { toModelName } from "../providers/all.ts";
import { sleep as sleepReally } from "../sleep.ts";
import type { CacheOwner } from "./cache.ts";
import { openAnswerCache } from "./cache.ts";
import type { Circuit, CircuitState } from "./circuit.ts";
import { openCircuit } from "./circuit.ts";
import type { Pacing } from "./config.ts";
import type { After } from "./deadline.ts";
import { afterReally, withDeadline } from "./deadline.ts";
import type { Candidate } from "./failover.ts";
import { withFailover } from "./failover.ts";
import type { Gate } from "./gate.ts";
import { withGates } from "./gate.ts";
import { openBucket, paceGate } from "./pace.ts";
import { withQueue, withRetries } from "./retry.ts";
import { slotGate } from "./slots.ts";

interface PolicyServices {
  readonly config: HostConfig;
  /** The bare provider of a model. Throws `provider.*`. */
  readonly open: (model: string, baseUrl?: string) => Provider;
  /** Whose answers are kept, where the config has a cache. Missing: none are. */
  readonly owner?: CacheOwner;
  /** Time that only goes on, in ms; missing: that of the process. */
  readonly now?: Clock;
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly after?: After;
}

/** How an endpoint that was asked by this process stands. */
export interface EndpointHealth {
  /** As it stands before the colon in `--model`. */
  readonly name: string;
  readonly state: CircuitState;
  /** In a row. */
  readonly failures: number;
}

/** Providers with all policies around them. Disposing closes what they keep. */
export interface Policies extends AsyncDisposable {
  /** The provider of a model, or of a route of the config, as `--model` names it. Throws `provider.*`, `usage.bad_option`. */
  readonly openProvider: (model: string, baseUrl?: string) => Provider;
  /** Of the endpoints that were asked lately, the newest first. */
  readonly health: () => readonly EndpointHealth[];
}

/** What all calls of one endpoint share, whatever its names are. */
interface Endpoint {
  readonly name: string;
  readonly circuit: Circuit;
}

/** The places and rate limits that the config gives to the name of an endpoint. */
type Pace = (model: string) => readonly Gate[];

/** Endpoints, and runs of a route, of which the newest are remembered. */
const maxRemembered = 1_000;

/**
 * Opens the policies of this process: around each endpoint its circuit, its places and its rate limits, around that the retries and the
 * cache; around these the other models of a route, the queue of a rate limit, and the deadline of the whole call.
 */
export function openPolicies(services: PolicyServices): Policies {
  const { config, open, owner, now = () => performance.now(), sleep = sleepReally, after = afterReally } = services;
  const { retries } = config;
  const endpoints = new LRUCache<string, Endpoint>({ max: maxRemembered });
  const paces = new LRUCache<string, Pace>({ max: maxRemembered });
  const turns = new Map<string, (request: ModelRequest) => number>();
  const cache = owner === undefined ? undefined : openAnswerCache(owner, config.cache);

  function toEndpoint({ identity, name }: Provider): Endpoint {
    const known = endpoints.get(identity);
    if (known !== undefined) return known;
    const endpoint = { name, circuit: openCircuit(config.circuit, now) };
    endpoints.set(identity, endpoint);
    return endpoint;
  }

  function toPace({ identity, name }: Provider): Pace {
    const key = `${name} ${identity}`;
    const known = paces.get(key);
    if (known !== undefined) return known;
    const { requestsPerMinute, tokensPerMinute, concurrent, queueMs } = pacingOf(config, name);
    const slots = concurrent === undefined ? undefined : openSlots(concurrent);
    const requests = requestsPerMinute === undefined ? undefined : openBucket(requestsPerMinute, now);
    const tokens = tokensPerMinute === undefined ? undefined : openBucket(tokensPerMinute, now);
    const isPaced = requests !== undefined || tokens !== undefined;
    const pace = (model: string): readonly Gate[] => [
      ...(slots === undefined ? [] : [slotGate({ slots, queueMs, model, now, after })]),
      ...(isPaced ? [paceGate({ requests, tokens, queueMs, model, sleep })] : []),
    ];
    paces.set(key, pace);
    return pace;
  }

  /** A model with and without retries. What is not metered is in this process: it has no endpoint to spare, and no answer to save. */
  function toStacks(model: string, bare: Provider): { readonly first: Provider; readonly single: Provider } {
    const gates = bare.metered ? [toEndpoint(bare).circuit.gate(model), ...toPace(bare)(model)] : [];
    const single = withGates(bare, gates);
    const first = withRetries(single, { model, retries, sleep });
    return cache === undefined || !bare.metered
      ? { first, single }
      : { first: cache.around(first, model), single: cache.around(single, model) };
  }

  function openRoute(name: string, { models, pick, declined }: HostConfig["routes"][string]) {
    const stacks = openAny(models, open).map(({ model, provider }) => ({ model, ...toStacks(model, provider) }));
    const begin = pick === "first" ? () => 0 : (turns.get(name) ?? openTurns(models.length));
    turns.set(name, begin);
    const route = (which: "first" | "single"): Provider => {
      const candidates = stacks.map((stack) => ({ model: stack.model, provider: stack[which] }));
      return withFailover({ name, candidates, declined, begin });
    };
    return { first: route("first"), single: route("single") };
  }

  return {
    openProvider(model, baseUrl) {
      const route = Object.hasOwn(config.routes, model) ? config.routes[model] : undefined;
      if (route !== undefined && baseUrl !== undefined) {
        const message = `--base-url says nothing for the route ${model}, whose models have their own. Leave it out.`;
        throw new CapstanError("usage.bad_option", message);
      }
      const { first, single } = route === undefined ? toStacks(model, open(model, baseUrl)) : openRoute(model, route);
      return withDeadline(withQueue(first, single, { model, retries, sleep }), retries.callMs, after);
    },
    health: () =>
      [...endpoints.values()].map(({ name, circuit }) => ({
        name,
        state: circuit.state(),
        failures: circuit.failures(),
      })),
    async [Symbol.asyncDispose]() {
      await cache?.[Symbol.asyncDispose]();
    },
  };
}

function pacingOf({ pacing }: HostConfig, name: string): Pacing {
  return (Object.hasOwn(pacing, name) ? pacing[name] : undefined) ?? { queueMs: 0 };
}

/**
 * The models of a route. One that can't be opened, such as for a missing key, fails when it is asked, so that the next one stands in;
 * where none can, the failure of the first is thrown.
 */
function openAny(models: readonly string[], open: PolicyServices["open"]): readonly Candidate[] {
  const failures: CapstanError[] = [];
  const candidates = models.map((model): Candidate => {
    try {
      return { model, provider: open(model) };
    } catch (thrown) {
      const error = toCapstanError(thrown);
      failures.push(error);
      const stream = (): never => {
        throw error;
      };
      return { model, provider: { name: toModelName(model).provider, metered: false, identity: model, stream } };
    }
  });
  const [first] = failures;
  if (first !== undefined && failures.length === models.length) throw first;
  return candidates;
}

/** Each run begins one place after the run before it. */
function openTurns(count: number): (request: ModelRequest) => number {
  const begun = new LRUCache<string, number>({ max: maxRemembered });
  let next = 0;
  return ({ cacheKey }) => {
    const known = cacheKey === undefined ? undefined : begun.get(cacheKey);
    if (known !== undefined) return known;
    const place = next;
    next = (next + 1) % count;
    if (cacheKey !== undefined) begun.set(cacheKey, place);
    return place;
  };
}

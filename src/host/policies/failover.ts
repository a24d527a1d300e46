import { CapstanError, toCapstanError } from "../../core/error.ts";
import { sha256 } from "../../core/json.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import { toModelName } from "../providers/all.ts";
import type { Route } from "./config.ts";
import { toKnown, toRetryAfterMs } from "./retry.ts";

/** One model of a route. */
export interface Candidate {
  /** As in `--model`. */
  readonly model: string;
  readonly provider: Provider;
}

interface RouteParts {
  /** The route's own, as in `--model`. */
  readonly name: string;
  readonly candidates: readonly Candidate[];
  readonly declined: Route["declined"];
  /** The place of the candidate that a request begins with. */
  readonly begin: (request: ModelRequest) => number;
}

type Failure = { readonly model: string; readonly error: CapstanError };

/**
 * Asks one model after the other until one answers; each failure that another model follows is a notice, and what was streamed before
 * it is void. Throws the failure of the last one asked, or `provider.rate_limited` where a model of the route may be waited for.
 */
export function withFailover({ name, candidates, declined, begin }: RouteParts): Provider {
  async function* stream(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelEvent> {
    const start = begin(request);
    const order = candidates.map((_, place) => candidates[(start + place) % candidates.length]);
    const failures: Failure[] = [];
    for (const [place, candidate] of order.entries()) {
      if (candidate === undefined) continue;
      const { model } = candidate;
      const next = order[place + 1]?.model;
      try {
        const own = { ...request, model: toModelName(model).name };
        for await (const event of candidate.provider.stream(own, signal)) {
          if (event.type !== "message.ended") {
            yield event;
            continue;
          }
          const isDeclined = event.stop === "refusal" || event.stop === "filtered";
          if (next === undefined || !isDeclined || declined === "end") return yield { model, ...event };
          const why = { code: "provider.declined", message: `${model} declined.`, usage: event.usage };
          yield { type: "notice", notice: { type: "failover", model, next, ...why } };
        }
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toCapstanError(thrown);
        // A fault of our own is none that another model would not meet.
        if (!error.code.startsWith("provider.")) throw thrown;
        failures.push({ model, error });
        const { code, message } = error;
        const why = { code, message, ...toKnown(error) };
        if (next !== undefined) yield { type: "notice", notice: { type: "failover", model, next, ...why } };
      }
    }
    throw toRouteError(name, failures);
  }
  const providers = candidates.map(({ provider }) => provider);
  return {
    name,
    metered: providers.some(({ metered }) => metered),
    identity: sha256(providers.map(({ identity }) => identity).join(" ")),
    validate: (request) =>
      candidates.flatMap(({ model, provider }) => {
        const problems = provider.validate?.({ ...request, model: toModelName(model).name }) ?? [];
        return problems.map((problem) => `${model}: ${problem}`);
      }),
    stream,
  };
}

function toRouteError(name: string, failures: readonly Failure[]): CapstanError {
  const limited = failures.filter(({ error }) => error.code === "provider.rate_limited").map(({ error }) => error);
  const last = failures.at(-1)?.error;
  const code = limited.length > 0 ? "provider.rate_limited" : (last?.code ?? "provider.unavailable");
  const told = failures.map(({ model, error }) => `${model} (${error.code}: ${error.message})`).join("; ");
  const retryAfterMs = Math.min(...limited.map(toRetryAfterMs));
  return new CapstanError(code, `No model of ${name} answered: ${told}`, {
    cause: last,
    details: {
      ...(limited.length > 0 ? { retryAfterMs } : {}),
      lastCode: last?.code,
      ...(last === undefined ? {} : toKnown(last)),
    },
  });
}

import { z } from "zod";
import { longestMs } from "../../core/clock.ts";

const ms = z.int().min(0).max(longestMs);
const retries = z.int().min(0).max(20);

/** How often what failed for a passing reason is tried again, and how long is waited. */
export const Retries = z.strictObject({
  /** A call of a model: after 1, 2, 4 s, …, or as long as its endpoint asks. Who asks for more than `capMs` is not waited for. */
  model: z
    .strictObject({ retries: retries.default(3), firstMs: ms.default(1_000), capMs: ms.default(30_000) })
    .prefault({}),
  /** The same where the endpoint says "too many requests"; after the retries a call is queued for `queueMs` in all. */
  rateLimited: z.strictObject({ retries: retries.default(3), queueMs: ms.default(120_000) }).prefault({}),
  /** After how long a call of a model ends, retries and other models of its route included. */
  callMs: z.int().min(1).max(longestMs).default(600_000),
  /** A call of a tool that did not end in its time, unless it must not be repeated. */
  tool: z.strictObject({ retries: retries.default(2), delayMs: ms.default(500) }).prefault({}),
  /** A call that found the knowledge, the todos or whatever a tool keeps locked; after that the model reads of it and goes on without. */
  memory: z.strictObject({ retries: retries.default(2), delayMs: ms.default(100) }).prefault({}),
  /** A write to the log of a run while the store is locked: after 20, 40, 80 ms, …, a second at most. */
  store: z.strictObject({ retries: retries.default(5), firstMs: ms.default(20) }).prefault({}),
});
export type Retries = Readonly<z.infer<typeof Retries>>;

/** How fast one endpoint may be asked by this process. What is missing is not bounded. */
export const Pacing = z.strictObject({
  requestsPerMinute: z.int().min(1).exactOptional(),
  /** Input and output; estimated before a call and corrected after it. */
  tokensPerMinute: z.int().min(1).exactOptional(),
  /** Calls at a time. */
  concurrent: z.int().min(1).exactOptional(),
  /** A call that would wait longer for one of these is not made. */
  queueMs: ms.default(60_000),
});
export type Pacing = Readonly<z.infer<typeof Pacing>>;

/** After how many failures in a row, all within `windowMs`, an endpoint is left alone for `openMs`; then one call tries it. */
export const Circuit = z.strictObject({
  failures: z.int().min(1).default(5),
  windowMs: ms.default(60_000),
  openMs: ms.default(30_000),
});
export type Circuit = Readonly<z.infer<typeof Circuit>>;

/** Models that stand in for each other, under one name. */
export const Route = z.strictObject({
  /** As in `--model`; each is asked when those before it have failed. */
  models: z.array(z.string().min(1)).min(1).max(16),
  /** `first`: always begin with the first. `turn`: each run begins with the next, and keeps to it, so that its prompt cache stays warm. */
  pick: z.enum(["first", "turn"]).default("first"),
  /** Whether another model is asked when one declines. */
  declined: z.enum(["end", "next"]).default("end"),
});
export type Route = Readonly<z.infer<typeof Route>>;

/** Answers of models that are kept and given again for the same request of the same user at the same endpoint. */
export const Cache = z.strictObject({
  store: z.enum(["off", "memory", "sqlite"]).default("off"),
  ttlMs: z.int().min(1).max(longestMs).default(3_600_000),
  /** Beyond these, what was used longest ago goes. */
  entries: z.int().min(1).max(100_000).default(1_000),
  megabytes: z.int().min(1).max(4_096).default(64),
  /** Also for requests that offer tools, and answers that call them. */
  toolTurns: z.boolean().default(false),
});
export type Cache = Readonly<z.infer<typeof Cache>>;

/** What is wrong with routes, in sentences; `isEndpoint` knows the names that may stand before a colon. */
export function routeProblems(
  routes: Readonly<Record<string, Route>>,
  isEndpoint: (name: string) => boolean,
): readonly { readonly path: readonly (string | number)[]; readonly message: string }[] {
  return Object.entries(routes).flatMap(([name, { models }]) => [
    ...(name === "planner"
      ? [{ path: [name], message: "planner is a model already; give the route another name" }]
      : []),
    ...models.flatMap((model, place) => {
      const wrong = (message: string) => [{ path: [name, "models", place], message }];
      if (models.indexOf(model) < place) return wrong(`"${model}" is in the list already`);
      if (model === "planner") return [];
      const colon = model.indexOf(":");
      if (colon < 1 || colon === model.length - 1)
        return wrong(`a model of a route is written ENDPOINT:NAME, not "${model}"`);
      if (isEndpoint(model.slice(0, colon))) return [];
      return wrong(`no endpoint is called "${model.slice(0, colon)}"; name it under host.providers`);
    }),
  ]);
}

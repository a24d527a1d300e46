import { CapstanError } from "../core/error.ts";
import type { Event, ModelSettings, RunLimits, Usage } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import type { Grant } from "../permissions/grant.ts";
import { toRequest } from "./call-model.ts";
import type { HostServices } from "./host.ts";
import type { PreparedRun } from "./prepare.ts";
import { estimateUsage, priceOf, toCostMicroUsd } from "./price.ts";
import { toModelName } from "./providers/all.ts";

/** What a run would be. */
export interface RunPlan {
  readonly model: string;
  readonly agent?: { readonly name: string; readonly version: number };
  readonly system: string;
  /** The grant of the run. */
  readonly grant: Grant;
  /** The tools that the model would be told of. */
  readonly tools: readonly string[];
  readonly limits: RunLimits;
  readonly settings: ModelSettings;
  /** What would be reserved for the first model call: its context, and the longest answer. null: there is no model behind it. */
  readonly reserved: Usage | null;
  readonly reservedMicroUsd: number;
  /** What the provider can't say of the settings, in sentences. */
  readonly problems: readonly string[];
}

/** A prepared run as its first model call would see it. Nothing is called, charged or written. Throws what would refuse its beginning. */
export function toPlan({ runId, provider, grant, bodies, before }: PreparedRun, services: HostServices): RunPlan {
  const { door, config, scope, clock } = services;
  const at = Math.max(clock(), before?.updatedAt ?? 0);
  const events = bodies.map((body, place): Event => ({ v: 1, scope, runId, seq: place + 1, at, ...body }));
  let run: Run | null = before ?? null;
  for (const event of events) run = applyEvent(run, event);
  if (run === null) throw new CapstanError("run.corrupt", `${runId} has no beginning.`);
  const [{ model, agent, limits }] = bodies;
  const request = toRequest(run, { door, grant, model: toModelName(model).name, settings: config.settings });
  const reserved = provider.metered ? estimateUsage(request) : null;
  return {
    model,
    ...(agent === undefined ? {} : { agent }),
    system: request.system ?? "",
    grant,
    tools: request.tools.map(({ name }) => name),
    limits,
    settings: request.settings,
    reserved,
    reservedMicroUsd: reserved === null ? 0 : toCostMicroUsd(reserved, priceOf(config, model)),
    problems: provider.validate?.(request) ?? [],
  };
}

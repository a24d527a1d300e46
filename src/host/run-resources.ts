import { setTimeout as sleep } from "node:timers/promises";
import type { Event } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { foldRun } from "../core/run.ts";
import { demand } from "../permissions/demand.ts";
import { lineageOf, maySee } from "../permissions/lineage.ts";
import type { Permissions } from "../permissions/permissions.ts";
import type { Store } from "../store/store.ts";
import type { Resource, ResourceSource, SourceContext } from "../tools/resource.ts";
import { toPending, toRunLine } from "./outcome.ts";
import { lineage } from "./lineage.ts";
import { findRunGrant } from "./run-grant.ts";

/** Where runs stand among the resources. */
export const runPrefix = "capstan://runs/";
const mimeType = "application/json";

/** Of how many of the newest runs those are listed that the caller may read. */
const recent = 100;
/** How much of a task stands in the list, in characters. */
const titleChars = 100;
/** How soon a change is told of. Any process may drive the run, so its log is looked at. */
const lookMs = 1_000;
/** What changes the status of a run. */
const changes: ReadonlySet<Event["type"]> = new Set(["run.suspended", "run.resumed", "run.finished"]);

/**
 * Runs among the resources: `capstan://runs/ID`, for whoever may read runs. A grant sees its principal's runs as `maySee` says, and one
 * that is bound to a run that one alone. They are read with what the run has seen; an update is told when a run ends, waits or goes on.
 */
export function runResources({
  store,
  permissions,
}: {
  readonly store: Store;
  readonly permissions: Permissions;
}): ResourceSource {
  /** Whether the caller may read a run, if it exists. */
  async function isReadable(runId: string, { scope, principal, grant }: SourceContext): Promise<boolean> {
    try {
      demand(grant, [{ type: "run", action: "read", runId }], permissions.now());
    } catch {
      return false;
    }
    const recorded = await findRunGrant(store, scope, runId);
    if (recorded?.principal.org !== principal.org || recorded.principal.user !== principal.user) return false;
    return maySee(grant, lineageOf(recorded));
  }

  /** Calls `onUpdate` for each change after the event `seq`, until the run ends or the signal aborts, with which it rejects. */
  async function follow(
    { scope, runId, seq }: Pick<Run, "scope" | "runId" | "seq">,
    onUpdate: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    for (let last = seq; ;) {
      await sleep(lookMs, undefined, { signal, ref: false });
      for await (const event of store.events(scope, runId, last + 1)) {
        last = event.seq;
        if (changes.has(event.type)) onUpdate();
        if (event.type === "run.finished") return;
      }
    }
  }

  return {
    name: "runs",
    owns: (uri) => uri.startsWith(runPrefix),

    async list(context) {
      const resources: Resource[] = [];
      for (const summary of await store.runs(context.scope, recent)) {
        if (!(await isReadable(summary.runId, context))) continue;
        const { runId, task, status, startedAt } = toRunLine(summary);
        // A list carries no labels: it shows no words of others.
        const isOwn = summary.first?.type === "run.created" && (summary.first.taint ?? []).length === 0;
        resources.push({
          uri: `${runPrefix}${runId}`,
          name: runId,
          ...(isOwn ? { title: task.slice(0, titleChars).toWellFormed() } : {}),
          description: `A run: ${status}, started ${new Date(startedAt).toISOString()}.`,
          mimeType,
        });
      }
      return resources;
    },

    templates: async () => [
      {
        uriTemplate: `${runPrefix}{id}`,
        name: "run",
        description: "A run: its status, its answer, what it used.",
        mimeType,
      },
    ],

    async read(uri, context) {
      const runId = uri.slice(runPrefix.length);
      if (!(await isReadable(runId, context))) return null;
      const { run, artifacts } = await load(store, context, runId);
      return {
        type: "done",
        contents: [{ uri, mimeType, text: JSON.stringify(show(run, artifacts)) }],
        taint: run.taint,
      };
    },

    async subscribe(uri, context, onUpdate) {
      const runId = uri.slice(runPrefix.length);
      const left = new AbortController();
      if (await isReadable(runId, context)) {
        const { run } = await load(store, context, runId);
        // It ends with its subscriber, or where the store can't be read, as reading will say.
        if (run.end === null) follow(run, onUpdate, left.signal).catch(() => {});
      }
      return { [Symbol.asyncDispose]: async () => left.abort() };
    },
  };
}

/** A run, and the artifacts that its tools told of, by their URIs. Throws `run.corrupt`. */
async function load(
  store: Store,
  { scope }: SourceContext,
  runId: string,
): Promise<{ readonly run: Run; readonly artifacts: readonly string[] }> {
  const events = await Array.fromAsync(lineage(store, scope, runId));
  const blocks = events.flatMap((event) => (event.type === "tool.finished" ? (event.outcome.content ?? []) : []));
  const links = blocks.flatMap((block) => (block.type === "resource_link" ? [block.uri] : []));
  const artifacts = new Set(links.filter((uri) => uri.startsWith("capstan://artifacts/")));
  return { run: await foldRun(events), artifacts: [...artifacts] };
}

function show(run: Run, artifacts: readonly string[]): object {
  const { runId, status, task, model, createdAt, updatedAt, end, lastText, turns, toolCalls, usage, costMicroUsd } =
    run;
  return {
    ...{ runId, status, task, model },
    startedAt: new Date(createdAt).toISOString(),
    updatedAt: new Date(updatedAt).toISOString(),
    answer: end?.answer ?? lastText,
    ...(end?.code === undefined ? {} : { code: end.code }),
    ...(end?.message === undefined ? {} : { message: end.message }),
    pending: toPending(run),
    artifacts,
    ...{ turns, toolCalls, usage, costMicroUsd, wallMs: run.activeMs },
  };
}

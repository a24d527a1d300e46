import type { Scope } from "../core/scope.ts";
import type { Grant } from "../permissions/grant.ts";
import { lineageOf, maySee } from "../permissions/lineage.ts";
import type { RunSummary, Store } from "../store/store.ts";
import type { RunLine } from "./outcome.ts";
import { toRunLine } from "./outcome.ts";

/** So many runs are read together. */
const pageRuns = 100;

interface Place {
  readonly store: Store;
  readonly scope: Scope;
}

/** All runs of a scope, the newest first. */
export async function* newestRuns({ store, scope }: Place): AsyncGenerator<RunSummary> {
  for (let page: readonly RunSummary[] = await store.runs(scope, pageRuns); page.length > 0;) {
    yield* page;
    page = await store.runs(scope, pageRuns, page.at(-1));
  }
}

/** The newest runs of those that were begun under grants that this one sees, as `recordedOf` tells them; a run without one is not seen. */
export async function listSeen(
  limit: number,
  grant: Grant,
  { recordedOf, ...place }: Place & { readonly recordedOf: (runId: string) => Promise<Grant> },
): Promise<readonly RunLine[]> {
  const lines: RunLine[] = [];
  for await (const summary of newestRuns(place)) {
    const recorded = await recordedOf(summary.runId).catch(() => null);
    if (recorded !== null && maySee(grant, lineageOf(recorded))) lines.push(toRunLine(summary));
    if (lines.length >= limit) break;
  }
  return lines;
}

import { counted } from "../core/counted.ts";
import { CapstanError } from "../core/error.ts";
import type { Event } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import type { Scope } from "../core/scope.ts";
import type { Store } from "../store/store.ts";

/** More runs than this, each going on from the one before, are read no more: the reader would take too long. */
const maxLinks = 1_000;

/** A part of a lineage: the events of a run from its first up to and with `toSeq`; Infinity: to the end of its log. */
export interface Link {
  readonly runId: string;
  readonly toSeq: number;
}

/**
 * The runs that a run goes on from, the oldest first, and the run itself. None for an unknown run. Throws `run.corrupt` where one of
 * them is missing or where they go round in a circle, `run.too_long` for more than 1,000, with the `more` that are to go on from it.
 */
export async function lineageLinks(store: Store, scope: Scope, runId: string, more = 0): Promise<readonly Link[]> {
  const links: Link[] = [];
  const seen = new Set<string>();
  for (let link: Link | undefined = { runId, toSeq: Infinity }; link !== undefined;) {
    if (seen.has(link.runId)) throw broken(runId, `its lineage comes back to ${link.runId}`);
    if (seen.size + more === maxLinks) throw tooLong(runId);
    seen.add(link.runId);
    const first = await firstEvent(store, scope, link.runId);
    if (first === undefined) {
      if (links.length === 0) return [];
      throw broken(runId, `${link.runId}, which it goes on from, is not there`);
    }
    links.unshift(link);
    const previous = first.type === "run.created" ? first.previous : undefined;
    link = previous === undefined ? undefined : { runId: previous.runId, toSeq: previous.seq };
  }
  return links;
}

/**
 * All events that a run has come from, in order: those of the runs that it goes on from, each up to where the next one left it, then
 * its own. An unknown run yields nothing. Throws as `lineageLinks` does.
 */
export async function* lineage(store: Store, scope: Scope, runId: string, more = 0): AsyncGenerator<Event> {
  for (const { runId: part, toSeq } of await lineageLinks(store, scope, runId, more)) {
    let seq = 0;
    for await (const event of store.events(scope, part)) {
      if (event.seq > toSeq) break;
      seq = event.seq;
      yield event;
    }
    if (toSeq !== Infinity && seq < toSeq) throw broken(runId, `${part} has no event ${toSeq}, which it goes on from`);
  }
}

/** Throws `run.not_over` for a run that can't be continued, since it may still go on itself. */
export function demandContinuable({ runId, end, suspendedFor, imported }: Run): void {
  if (end !== null || suspendedFor === "interrupted" || imported !== undefined) return;
  const why =
    suspendedFor === "approval"
      ? `waits for a person, see \`capstan runs show ${runId}\`; decide, or end it with \`capstan runs cancel ${runId}\``
      : `has not ended; go on with \`capstan runs resume ${runId}\``;
  throw new CapstanError("run.not_over", `${runId} can't be continued by another run: it ${why}.`);
}

async function firstEvent(store: Store, scope: Scope, runId: string): Promise<Event | undefined> {
  for await (const event of store.events(scope, runId)) return event;
  return undefined;
}

function broken(runId: string, why: string): CapstanError {
  return new CapstanError(
    "run.corrupt",
    `${runId} can't be read: ${why}. Restore the store from a backup, or start a new run.`,
  );
}

function tooLong(runId: string): CapstanError {
  return new CapstanError(
    "run.too_long",
    `${runId} and what goes on from it are more than ${counted(maxLinks, "run")}, one after another. Start a new run or conversation.`,
  );
}

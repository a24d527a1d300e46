import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Event, EventBody } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import type { Scope } from "../core/scope.ts";
import type { Batch, Store } from "../store/store.ts";

/** What may be committed together with events. */
type Along = Pick<Batch, "charges" | "settles" | "records" | "taken" | "durability">;

interface LogServices {
  readonly store: Store;
  readonly clock: Clock;
  /** Gets each event once it is committed. Must not throw. */
  readonly onEvent: (event: Event) => void;
}

/** The log of one run, as its one driver writes it. */
export interface RunLog {
  /** The run as of the last event that was committed. */
  run(): Run;
  /**
   * Commits events in the order of the calls. Throws `store.conflict` when another driver has written to the run, and what else
   * `commit` throws; nothing is written then. An event that can't follow throws `run.corrupt` and is never written.
   */
  append(bodies: readonly EventBody[], along?: Along): Promise<void>;
}

/** Opens the log behind `start`. */
export function openRunLog(start: Run, services: LogServices): RunLog {
  let run = start;
  let last: Promise<void> = Promise.resolve();
  const write = async (bodies: readonly EventBody[], along: Along): Promise<void> => {
    run = await commit(run, run, bodies, along, services);
  };
  return {
    run: () => run,
    append(bodies, along = {}) {
      const written = last.then(() => write(bodies, along));
      last = written.catch(() => {});
      return written;
    },
  };
}

/** Begins the log of a new run, whose first event is `run.created`. */
export async function beginRun(
  of: { readonly scope: Scope; readonly runId: string },
  bodies: readonly [EventBody & { type: "run.created" }, ...EventBody[]],
  along: Along,
  services: LogServices,
): Promise<Run> {
  return await commit(null, of, bodies, along, services);
}

async function commit(
  run: Run | null,
  { scope, runId }: { readonly scope: Scope; readonly runId: string },
  bodies: readonly EventBody[],
  along: Along,
  { store, clock, onEvent }: LogServices,
): Promise<Run> {
  const seq = run?.seq ?? 0;
  // A clock set back does not turn the log around.
  const at = Math.max(clock(), run?.updatedAt ?? 0);
  const events = bodies.map((body, place): Event => ({ v: 1, scope, runId, seq: seq + 1 + place, at, ...body }));
  let next = run;
  for (const event of events) next = applyEvent(next, event);
  if (next === null) throw new CapstanError("run.corrupt", `Nothing was to be written to the log of ${runId}.`);
  await store.commit({ scope, runId, afterSeq: seq, at, events: bodies, ...along });
  for (const event of events) onEvent(event);
  return next;
}

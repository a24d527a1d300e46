import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Event, EventBody } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { applyEvent } from "../core/run.ts";
import type { Scope } from "../core/scope.ts";
import type { Batch, Store } from "../store/store.ts";

/** What may be committed together with events. */
type Along = Pick<Batch, "charges" | "settles" | "records" | "seal" | "audit" | "taken" | "durability" | "behind">;

interface LogServices {
  readonly store: Store;
  readonly clock: Clock;
  /** Gets each event once it is committed. Must not throw. */
  readonly onEvent: (event: Event) => void;
  /** Gets each failure to write what was recorded. Must not throw. */
  readonly onLost?: (reason: unknown) => void;
}

/** The log of one run, as its one driver writes it. What does not follow throws `run.corrupt` and is never written. */
export interface RunLog {
  /** The run with every outcome that was recorded, and every intention that is safe. */
  run(): Run;
  /**
   * Commits an intention: resolves once it is safe, and then only its effect may begin. Throws `store.conflict` when another driver has
   * written to the run, `budget.*` for a charge that has no room, and what else `commit` throws; nothing is written then.
   */
  append(bodies: readonly EventBody[], along?: Along): Promise<void>;
  /**
   * Takes an outcome into the run: resolves once `run` has it. It is written in one transaction with the intention that follows from it,
   * where one follows at once; `settled` waits for it.
   */
  record(bodies: readonly EventBody[], along?: Along): Promise<void>;
  /** Resolves once all that was recorded is safe. Throws the first failure to write. */
  settled(): Promise<void>;
}

/** Opens the log behind `start`. */
export function openRunLog(start: Run, services: LogServices): RunLog {
  let run = start;
  /** The intention that is being written: what comes next waits, because it may still be refused. */
  let intending: Promise<unknown> | null = null;
  let recorded: Promise<unknown> = Promise.resolve();
  /** What was last written, or is being: another driver's events may come to stand in its place, and nothing follows on those. */
  let behind: readonly EventBody[] | undefined;

  const commitNext = (bodies: readonly EventBody[], along: Along) =>
    commit({ run, seq: run.seq }, run, bodies, behind === undefined ? along : { ...along, behind }, services);

  return {
    run: () => run,
    async append(bodies, along = {}) {
      for (let other = intending; other !== null; other = intending) await other;
      const { next, written } = commitNext(bodies, along);
      const done = Promise.withResolvers<void>();
      intending = done.promise;
      try {
        await written;
        [run, behind] = [next, bodies];
      } catch (refused) {
        // What was recorded before says better why nothing follows.
        await recorded;
        throw refused;
      } finally {
        intending = null;
        done.resolve();
      }
    },
    async record(bodies, along = {}) {
      for (let other = intending; other !== null; other = intending) await other;
      const { next, written } = commitNext(bodies, along);
      [run, behind] = [next, bodies];
      recorded = bothEnded(recorded, written);
      recorded.catch((reason: unknown) => services.onLost?.(reason));
    },
    async settled() {
      await recorded;
    },
  };
}

/** Resolves once both have; rejects as the first of them does, and not before both have ended. */
async function bothEnded(first: Promise<unknown>, second: Promise<unknown>): Promise<void> {
  await Promise.allSettled([first, second]);
  await first;
  await second;
}

/** Begins the log of a new run, whose first event is `run.created`; `before` is what it goes on from, as of that event. */
export async function beginRun(
  of: { readonly scope: Scope; readonly runId: string; readonly before?: Run },
  bodies: readonly [EventBody & { type: "run.created" }, ...EventBody[]],
  along: Along,
  services: LogServices,
): Promise<Run> {
  const { next, written } = commit({ run: of.before ?? null, seq: 0 }, of, bodies, along, services);
  await written;
  return next;
}

function commit(
  { run, seq }: { readonly run: Run | null; readonly seq: number },
  { scope, runId }: { readonly scope: Scope; readonly runId: string },
  bodies: readonly EventBody[],
  along: Along,
  { store, clock, onEvent }: LogServices,
): { readonly next: Run; readonly written: Promise<void> } {
  // A clock set back does not turn the log around.
  const at = Math.max(clock(), run?.updatedAt ?? 0);
  const events = bodies.map((body, place): Event => ({ v: 1, scope, runId, seq: seq + 1 + place, at, ...body }));
  let next = run;
  for (const event of events) next = applyEvent(next, event);
  if (next === null) throw new CapstanError("run.corrupt", `Nothing was to be written to the log of ${runId}.`);
  const written = tell(store.commit({ scope, runId, afterSeq: seq, at, events: bodies, ...along }), events, onEvent);
  return { next, written };
}

async function tell(
  committed: Promise<void>,
  events: readonly Event[],
  onEvent: LogServices["onEvent"],
): Promise<void> {
  await committed;
  for (const event of events) onEvent(event);
}

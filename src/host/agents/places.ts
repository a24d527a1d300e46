import { CapstanError } from "../../core/error.ts";
import type { Slots } from "../../core/slots.ts";
import { openSlots } from "../../core/slots.ts";
import type { StartRequest } from "../host.ts";
import type { AgentConfigs } from "./config.ts";
import { inOrder } from "./config.ts";

/** So many runs may wait for a place; more are refused at once. */
const maxWaiting = 10_000;

/** Who wants to drive a run, as `start` and `resume` are told. A grant that is bound to a run is that of one of its calls. */
type Asker = Pick<StartRequest, "grant" | "signal" | "cancelled" | "onSignal">;

/** How many runs go on at a time in this process. */
export interface Places {
  /**
   * Waits for the places that a run needs; disposing gives them back. Throws `budget.parallel` when there is none in time, and the
   * reason of the signals.
   */
  enter(run: { readonly runId: string; readonly agent: string | undefined }, asker: Asker): Promise<Disposable>;
}

/** What a kind of places is called, and which setting allows more. */
interface Pool {
  readonly slots: Slots;
  readonly count: number;
  readonly called: string;
  readonly key: string;
}

/**
 * A run takes a place among all runs, and one among those of its agent. Nobody waits for somebody who waits for them: a run within
 * another takes no place among all, since the other has one and waits for it; none of its agent, where a run around it has that; and
 * for another agent's it waits only if that comes, in the order of who lists whom, behind those of all runs around it. Else it gets
 * one at once, or none. Whoever waits for an agent's place has its place among all already, and not the other way round.
 */
export function openPlaces(
  { runs, queueMs }: { readonly runs: number; readonly queueMs: number },
  agents: AgentConfigs,
): Places {
  const all: Pool = { slots: openSlots(runs), count: runs, called: "runs", key: "host.concurrency.runs" };
  const byAgent = new Map<string, Pool & { readonly rank: number }>();
  for (const [rank, name] of inOrder(agents).entries()) {
    const count = agents[name]?.concurrency;
    if (count === undefined) continue;
    const called = `runs of the agent ${name}`;
    byAgent.set(name, { slots: openSlots(count), count, called, key: `host.agents.${name}.concurrency`, rank });
  }
  /** By run: the agents whose places it and the runs around it have. */
  const held = new Map<string, readonly string[]>();
  let waiting = 0;

  async function take(pool: Pool, mayWait: boolean, { signal, cancelled, onSignal }: Asker): Promise<() => void> {
    const { slots, count, called, key } = pool;
    const most = `${count} is the most of ${called} at a time`;
    const full = (when: string): CapstanError =>
      new CapstanError(
        "budget.parallel",
        `No place was free ${when}: ${most}. Try again later, or allow more with ${key}.`,
      );
    const taken = slots.tryTake();
    if (taken !== undefined) return taken;
    if (!mayWait || waiting >= maxWaiting) throw full("now");
    onSignal?.({ type: "progress", text: `Waits until another one ends: ${most}.` });
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(full(`within ${queueMs} ms`)), queueMs);
    waiting += 1;
    try {
      return await slots.take(AbortSignal.any([signal, late.signal, ...(cancelled === undefined ? [] : [cancelled])]));
    } finally {
      waiting -= 1;
      clearTimeout(timer);
    }
  }

  return {
    async enter({ runId, agent = "" }, asker) {
      // It is only brought to its end, which is to free places.
      if (asker.cancelled?.aborted === true) return new DisposableStack();
      const around = held.get(asker.grant.run ?? "");
      using taken = new DisposableStack();
      if (around === undefined) taken.defer(await take(all, true, asker));
      const pool = byAgent.get(agent);
      const isNew = pool !== undefined && around?.includes(agent) !== true;
      if (isNew) {
        const isBehind = (around ?? []).every((name) => (byAgent.get(name)?.rank ?? -1) < pool.rank);
        taken.defer(await take(pool, isBehind, asker));
      }
      held.set(runId, [...(around ?? []), ...(isNew ? [agent] : [])]);
      taken.defer(() => held.delete(runId));
      return taken.move();
    },
  };
}

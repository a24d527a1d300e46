import type { Clock } from "./clock.ts";
import type { Scope } from "./scope.ts";

const hourMs = 60 * 60_000;

/** Work on a scope that wants to be done now and then. */
export interface Hourly {
  /** Does it, whenever it was done last. */
  now(scope: Scope): Promise<void>;
  /** Does it where it was not begun in the last hour. Never throws: it is no fault of the call that is the first of an hour. */
  due(scope: Scope): Promise<void>;
}

/** Counts the hours of each scope by itself. Work that failed is begun again when the next hour is over, or by `now`. */
export function openHourly(clock: Clock, work: (scope: Scope) => Promise<void>): Hourly {
  const begunAt = new Map<string, number>();
  const toKey = ({ org, project }: Scope): string => `${org}/${project}`;
  async function now(scope: Scope): Promise<void> {
    begunAt.set(toKey(scope), clock());
    await work(scope);
  }
  return {
    now,
    async due(scope) {
      if (clock() - (begunAt.get(toKey(scope)) ?? -Infinity) >= hourMs) await now(scope).catch(() => {});
    },
  };
}

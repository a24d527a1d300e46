import { CapstanError } from "../core/error.ts";
import type { Caller } from "./call.ts";

export interface InFlight {
  /** Takes a place on every account that caps `parallel`, or throws `budget.parallel`. Disposing gives the places back. */
  enter(caller: Caller): Disposable;
}

/** Counts calls in flight per grant. A nested call is part of the one around it and takes no place. */
export function openInFlight(): InFlight {
  const running = new Map<string, number>();
  return {
    enter({ grant, depth }) {
      const capped = depth > 0 ? [] : [grant, ...grant.ancestors].filter(({ limits }) => limits.parallel !== undefined);
      for (const { id, limits } of capped) {
        const cap = limits.parallel ?? Infinity;
        if ((running.get(id) ?? 0) >= cap) {
          throw new CapstanError(
            "budget.parallel",
            `Already ${cap} calls at a time, the most that grant ${id} allows.`,
          );
        }
      }
      for (const { id } of capped) running.set(id, (running.get(id) ?? 0) + 1);
      return {
        [Symbol.dispose]() {
          for (const { id } of capped) {
            const left = (running.get(id) ?? 1) - 1;
            if (left === 0) running.delete(id);
            else running.set(id, left);
          }
        },
      };
    },
  };
}

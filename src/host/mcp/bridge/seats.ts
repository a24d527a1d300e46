import type { Clock } from "../../../core/clock.ts";
import { CapstanError } from "../../../core/error.ts";
import type { Principal } from "../../../core/scope.ts";
import type { Seat } from "./seat.ts";

/** How long the connection of a principal other than the operator may do nothing before it is closed. */
const idleMs = 10 * 60_000;
const sweepMs = 60_000;
/** How many principals may have a seat, each of which may be a process of its own; the longest unused one is given up for the next. */
const maxSeats = 100;

/** The seats at one server: no principal ever uses another's connection. Disposed of, all have ended. */
export interface Seats extends AsyncDisposable {
  /** Lets work have the principal's seat, which stays until the work is done. Throws `mcp.start_failed` where all are in use. */
  use<T>(principal: Principal, work: (seat: Seat) => Promise<T>): Promise<T>;
}

interface Taken {
  readonly seat: Seat;
  readonly stays: boolean;
  working: number;
  usedAt: number;
}

/** `isKept`: for whom a seat is never given up. */
export function openSeats(
  server: string,
  open: (principal: Principal) => Seat,
  isKept: (principal: Principal) => boolean,
  clock: Clock,
): Seats {
  const seats = new Map<string, Taken>();
  const sweeping = setInterval(sweep, sweepMs).unref();
  const leaving = new Set<Promise<void>>();

  function sweep(): void {
    for (const [key, seat] of idle()) if (clock() - seat.usedAt >= idleMs) giveUp(key, seat);
  }

  const idle = (): readonly (readonly [string, Taken])[] =>
    [...seats].filter(([, { seat, working, stays }]) => !stays && working === 0 && seat.watching.count() === 0);

  function giveUp(key: string, { seat }: Taken): void {
    seats.delete(key);
    const left = leave(seat).finally(() => leaving.delete(left));
    leaving.add(left);
  }

  function makeRoom(): void {
    if (seats.size < maxSeats) return;
    const [longest] = idle().toSorted(([, a], [, b]) => a.usedAt - b.usedAt);
    if (longest !== undefined) return giveUp(...longest);
    const text = `The MCP server ${server} is in use by ${maxSeats} users already. Try again later.`;
    throw new CapstanError("mcp.start_failed", text, { details: { server } });
  }

  function take(principal: Principal): Taken {
    sweep();
    const key = JSON.stringify([principal.org, principal.user]);
    const known = seats.get(key);
    if (known !== undefined) return known;
    makeRoom();
    const taken = { seat: open(principal), working: 0, usedAt: clock(), stays: isKept(principal) };
    seats.set(key, taken);
    return taken;
  }

  return {
    async use(principal, work) {
      const taken = take(principal);
      taken.working += 1;
      try {
        return await work(taken.seat);
      } finally {
        taken.working -= 1;
        taken.usedAt = clock();
      }
    },
    async [Symbol.asyncDispose]() {
      clearInterval(sweeping);
      const all = [...seats.values()];
      seats.clear();
      await Promise.all([...leaving, ...all.map(({ seat }) => seat[Symbol.asyncDispose]())]);
    },
  };
}

async function leave(seat: Seat): Promise<void> {
  try {
    await seat[Symbol.asyncDispose]();
  } catch {
    // Nobody uses it any more.
  }
}

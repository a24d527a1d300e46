import type { Clock } from "../../core/clock.ts";
import { longestMs } from "../../core/clock.ts";
import { CapstanError } from "../../core/error.ts";
import { openSlots, type Slots } from "../../core/slots.ts";
import type { Language, Sandbox, SandboxFile } from "../../sandbox/engine.ts";
import type { KnownFiles, SessionOwner, SessionRecord } from "./records.ts";

/** What the variables of sessions may take, and for how long they are kept. */
export interface SessionLimits {
  /** Sessions of one user, and of all, that have variables at a time. */
  readonly each: number;
  readonly all: number;
  /** Of all sessions of one user together, as they took at most in their last runs. */
  readonly memoryBytes: number;
  /** How long a session keeps its variables when nothing uses it, and at most. */
  readonly idleMs: number;
  readonly lifetimeMs: number;
}

/** Calls that may want a session at a time, and how long one waits for it. */
const maxUsers = 9;
const waitMs = 20_000;

/** The open sandbox of a session, and what its runs left. */
export interface Live {
  readonly owner: SessionOwner;
  readonly language: Language;
  readonly isNetworked: boolean;
  readonly sandbox: Sandbox;
  readonly beganAt: number;
  usedAt: number;
  memoryBytes: number;
  record: SessionRecord;
  /** What is on record of its output folder. */
  files: KnownFiles;
  /** The sizes of the input files that it was given, by their paths. */
  inputs: ReadonlyMap<string, number>;
  /** What its first run is to find in its output folder. */
  restored: readonly SandboxFile[];
  /** Why it was ended, once it was. */
  over?: string;
}

/** Where the session of one key is, while it has variables or somebody wants it. */
export interface Place {
  readonly key: string;
  readonly user: string;
  readonly slots: Slots;
  /** Who has it or waits for it. */
  users: number;
  isOpening: boolean;
  live: Live | undefined;
  /** Until whoever has it knows what is there, and has opened what is not. Never rejects. */
  beginning: Promise<unknown> | undefined;
  /** Until nothing is left of one that was ended, and that is on record: so long it takes room. Never rejects. */
  closing: Promise<void> | undefined;
}

/** The sessions of this process that have variables. */
export interface House extends AsyncDisposable {
  /** Waits for the place of a session. Throws `session.busy`, or the signal's reason. */
  take(key: string, user: string, signal: AbortSignal): Promise<{ readonly place: Place; leave(): void }>;
  /** Ends sessions that were used longest ago, until there is room for one more here, which is kept free. Throws `session.too_many`. */
  makeRoom(place: Place): Promise<void>;
  /** Ends other sessions of the user while all together take too much memory. */
  trim(place: Place): Promise<void>;
  /** Why its time is over; undefined: it is not. */
  whyOver(live: Live): string | undefined;
  /** Ends those whose time is over and that nobody uses. */
  sweep(): Promise<void>;
  /**
   * Ends the variables of a session, in use or not. Resolves when nothing is left of them, also where something else ends them. `last` is
   * done then, in the place of `onGone` and also where there were none; nobody begins anew before.
   */
  end(place: Place, why: string, last?: () => Promise<void>): Promise<void>;
  /** undefined: there is nothing, and nobody wants it. */
  at(key: string): Place | undefined;
  /** The place, made where it is missing. It goes when nobody has it, or with `end`. */
  place(key: string, user: string): Place;
}

/** Opens an empty house. `onGone` hears of each session that was ended before its own run did it. */
export function openHouse({
  limits,
  clock,
  onGone,
}: {
  readonly limits: SessionLimits;
  readonly clock: Clock;
  readonly onGone: (live: Live, why: string) => Promise<void>;
}): House {
  const places = new Map<string, Place>();
  let timer: NodeJS.Timeout | undefined;

  const isIdle = (place: Place): place is Place & { live: Live } => place.live !== undefined && place.users === 0;
  const oldest = (some: readonly Place[]): Place | undefined =>
    some.filter(isIdle).sort((a, b) => a.live.usedAt - b.live.usedAt)[0];
  const of = (user: string): Place[] => [...places.values()].filter((place) => place.user === user);

  function leave(place: Place): void {
    place.users -= 1;
    forget(place);
    schedule();
  }

  function forget(place: Place): void {
    const { key, users, live, closing } = place;
    if (users === 0 && (live ?? closing) === undefined && places.get(key) === place) places.delete(key);
  }

  function placeAt(key: string, user: string): Place {
    const empty = { live: undefined, beginning: undefined, closing: undefined };
    const place = places.get(key) ?? { key, user, slots: openSlots(1), users: 0, isOpening: false, ...empty };
    places.set(key, place);
    return place;
  }

  async function take(key: string, user: string, signal: AbortSignal) {
    const place = placeAt(key, user);
    const busy = new CapstanError(
      "session.busy",
      "Other calls run in this session. Call again when they have ended, or use another session.",
    );
    if (place.users >= maxUsers) throw busy;
    const until = place.users === 0 ? signal : AbortSignal.any([signal, AbortSignal.timeout(waitMs)]);
    place.users += 1;
    try {
      const release = await place.slots.take(until);
      return {
        place,
        leave() {
          release();
          leave(place);
        },
      };
    } catch {
      leave(place);
      signal.throwIfAborted();
      throw busy;
    }
  }

  async function end(place: Place, why: string, last?: () => Promise<void>): Promise<void> {
    const { live, closing: before } = place;
    if (live === undefined && last === undefined) return await before;
    place.live = undefined;
    if (live !== undefined) live.over = why;
    const finish = async (): Promise<void> => {
      await before;
      await live?.sandbox[Symbol.asyncDispose]();
      if (last !== undefined) await last();
      else if (live !== undefined) await onGone(live, why);
    };
    const finished = finish();
    // What fails is told to who asked for it, and not to who waits.
    const closing = finished.catch(() => {});
    place.closing = closing;
    try {
      await finished;
    } finally {
      if (place.closing === closing) place.closing = undefined;
      forget(place);
    }
  }

  /** Nobody gets at it meanwhile: a place that is free is taken at once. */
  async function endIdle(place: Place, why: string): Promise<void> {
    const seat = await take(place.key, place.user, new AbortController().signal);
    await end(place, why).finally(() => seat.leave());
  }

  function whyOver({ beganAt, usedAt, owner }: Live): string | undefined {
    const now = clock();
    if (now >= owner.grant.expiresAt) return "its grant has ended";
    if (now - beganAt >= limits.lifetimeMs) return `it was ${inWords(limits.lifetimeMs)} old`;
    return now - usedAt >= limits.idleMs ? `nothing used it for ${inWords(limits.idleMs)}` : undefined;
  }

  async function sweep(): Promise<void> {
    for (const place of [...places.values()]) {
      // What was idle when this began may have been taken or ended since.
      const why = isIdle(place) ? whyOver(place.live) : undefined;
      if (why !== undefined) await endIdle(place, why);
    }
  }

  function schedule(): void {
    clearTimeout(timer);
    const ends = [...places.values()]
      .filter(isIdle)
      .map(({ live: { beganAt, usedAt, owner } }) =>
        Math.min(usedAt + limits.idleMs, beganAt + limits.lifetimeMs, owner.grant.expiresAt),
      );
    if (ends.length === 0) return;
    const waits = Math.min(Math.max(Math.min(...ends) - clock(), 0) + 1, longestMs);
    // What can't be put on record now, the next caller finds out.
    timer = setTimeout(() => void sweep().catch(() => {}), waits).unref();
  }

  return {
    take,
    end,
    sweep,
    whyOver,
    at: (key) => places.get(key),
    place: placeAt,
    async makeRoom(place) {
      for (;;) {
        const taken = [...places.values()].filter(
          (other) => other !== place && (other.isOpening || (other.live ?? other.closing) !== undefined),
        );
        const own = taken.filter(({ user }) => user === place.user);
        const crowd = own.length >= limits.each ? own : taken.length >= limits.all ? taken : undefined;
        if (crowd === undefined) break;
        const leaving = crowd.find(({ closing }) => closing !== undefined);
        if (leaving !== undefined) {
          await leaving.closing;
          continue;
        }
        const victim = oldest(crowd);
        if (victim === undefined) {
          throw new CapstanError(
            "session.too_many",
            `All ${crowd.length} sessions that there may be are running code. Call again later, or end one with session_end.`,
          );
        }
        await endIdle(victim, "another session needed its room");
      }
      place.isOpening = true;
    },
    async trim(place) {
      for (;;) {
        const own = of(place.user);
        const bytes = own.reduce((sum, { live }) => sum + (live?.memoryBytes ?? 0), 0);
        const victim = oldest(own);
        if (bytes <= limits.memoryBytes || victim === undefined) return;
        await endIdle(victim, "another session needed its memory");
      }
    },
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      await Promise.all([...places.values()].map((place) => end(place, "Capstan was ended")));
      clearTimeout(timer);
    },
  };
}

/** In the largest unit that leaves nothing over. */
function inWords(ms: number): string {
  const units = [
    ["hour", 3_600_000],
    ["minute", 60_000],
    ["second", 1_000],
  ] as const;
  const [unit, unitMs] = units.find(([, each]) => ms % each === 0) ?? ["ms", 1];
  const count = ms / unitMs;
  return `${count} ${unit}${unitMs === 1 || count === 1 ? "" : "s"}`;
}

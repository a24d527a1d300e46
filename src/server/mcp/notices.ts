import { CapstanError } from "../../core/error.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { Door } from "../../tools/call.ts";
import type { ToolboxChange } from "../../tools/toolbox.ts";

/** What a client is told of beside its requests, as both eras write it. */
export interface Notice {
  readonly method: string;
  readonly params?: { readonly uri: string };
}

/** One that hears of changes: a client's connection, or one subscription of it. */
export interface Follower {
  /** Under which grant it hears at this moment. */
  readonly grant: () => Grant;
  /** The lists whose changes it hears of. */
  readonly lists: readonly ToolboxChange[];
  /** Sends it and resolves when it is written. Until then the follower is told nothing else. Must not reject. */
  readonly tell: (notice: Notice) => Promise<void>;
  /** Called once when the grant has died, and nothing after it. Missing: it hears nothing while its grant is dead. */
  readonly onDead?: () => void;
}

/** Ends when it is disposed: nothing is told after that. */
export interface Following extends Disposable {
  /** There is something to tell, soon: beside the lists, whatever the follower follows itself. */
  mark(notice: Notice): void;
  /** From now on it is told; what it was marked with before has waited. */
  begin(): void;
}

/** The notices of one server, to all of its clients. While nobody follows it listens to nothing and has no timer. */
export interface Notices {
  follow(follower: Follower): Following;
  /** Counts subscriptions of the grant's principal until disposed. Throws `resource.too_many`. */
  claim(grant: Grant, count: number): Disposable;
}

/** What changes more often than this is told once: a server behind that comes and goes must not flood clients. */
const gatherMs = 100;
/** How long a grant that died may go unnoticed where nothing changes, beside the second that `refresh` allows itself. */
const watchMs = 2_000;
/** Subscriptions of one principal, over all of its connections: some hundred bytes each. */
const maxOfPrincipal = 20_000;

const listNotices: Readonly<Record<ToolboxChange, Notice>> = {
  tools: { method: "notifications/tools/list_changed" },
  resources: { method: "notifications/resources/list_changed" },
  prompts: { method: "notifications/prompts/list_changed" },
};

interface State {
  readonly follower: Follower;
  readonly pending: Set<Notice>;
  hasBegun: boolean;
  isTelling: boolean;
}

/** Opens the notices of a server. */
export function openNotices({
  door,
  permissions,
}: {
  readonly door: Door;
  readonly permissions: Permissions;
}): Notices {
  const states = new Set<State>();
  const claimed = new Map<string, number>();
  const changed = new Set<ToolboxChange>();
  let gathering: NodeJS.Timeout | undefined;
  let stop = (): void => {};

  function start(): void {
    const listening = door.onChange((change) => {
      changed.add(change);
      gather();
    });
    const watching = setInterval(() => void watch(), watchMs).unref();
    stop = () => {
      listening[Symbol.dispose]();
      clearInterval(watching);
      clearTimeout(gathering);
      gathering = undefined;
      changed.clear();
    };
  }

  function gather(): void {
    gathering ??= setTimeout(() => void flush(), gatherMs).unref();
  }

  async function flush(): Promise<void> {
    gathering = undefined;
    await refresh();
    const lists = [...changed];
    changed.clear();
    for (const state of [...states]) {
      for (const list of lists) if (state.follower.lists.includes(list)) state.pending.add(listNotices[list]);
      if (state.pending.size > 0) void tellAll(state);
    }
  }

  async function watch(): Promise<void> {
    await refresh();
    for (const state of [...states]) if (state.follower.onDead !== undefined) isHeard(state);
  }

  /** A store that fails decides nothing here: what is known stays in force until it is stale, and then nobody is told anything. */
  async function refresh(): Promise<void> {
    await permissions.refresh().catch(() => {});
  }

  /** Whether the follower's grant lives; else the follower is let go, or hears nothing of what there was to tell. */
  function isHeard(state: State): boolean {
    try {
      permissions.demandLive(state.follower.grant());
      return true;
    } catch {
      state.pending.clear();
      if (state.follower.onDead !== undefined && end(state)) state.follower.onDead();
      return false;
    }
  }

  async function tellAll(state: State): Promise<void> {
    if (!state.hasBegun || state.isTelling) return;
    const { pending, follower } = state;
    state.isTelling = true;
    for (const notice of [...pending]) {
      if (!states.has(state) || !isHeard(state)) break;
      pending.delete(notice);
      await follower.tell(notice);
    }
    state.isTelling = false;
    if (pending.size > 0 && states.has(state)) gather();
  }

  function end(state: State): boolean {
    const wasThere = states.delete(state);
    if (wasThere && states.size === 0) stop();
    return wasThere;
  }

  return {
    follow(follower) {
      const state: State = { follower, pending: new Set(), hasBegun: false, isTelling: false };
      if (states.size === 0) start();
      states.add(state);
      return {
        mark(notice) {
          state.pending.add(notice);
          if (state.hasBegun) gather();
        },
        begin() {
          state.hasBegun = true;
          if (state.pending.size > 0) gather();
        },
        [Symbol.dispose]: () => void end(state),
      };
    },

    claim({ principal, scope }, count) {
      const key = JSON.stringify([scope.org, scope.project, principal.org, principal.user]);
      const total = (claimed.get(key) ?? 0) + count;
      if (total > maxOfPrincipal) throw tooMany(maxOfPrincipal, "a user");
      claimed.set(key, total);
      return {
        [Symbol.dispose]() {
          const left = (claimed.get(key) ?? 0) - count;
          if (left > 0) claimed.set(key, left);
          else claimed.delete(key);
        },
      };
    },
  };
}

/** The error for a subscription too many. */
export function tooMany(max: number, whose: string): CapstanError {
  return new CapstanError("resource.too_many", `There are ${max} subscriptions at most of ${whose}. End some first.`);
}

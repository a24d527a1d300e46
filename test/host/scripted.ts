import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { AnswerPart, Event, Stop } from "../../src/core/event.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { HostConfig } from "../../src/host/config.ts";
import type { HostServices } from "../../src/host/host.ts";
import { openHost } from "../../src/host/host.ts";
import { openPolicies } from "../../src/host/policies/all.ts";
import type { ModelEvent, ModelRequest, Provider } from "../../src/host/provider.ts";
import type { World } from "../../src/host/world.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { openPermissions } from "../../src/permissions/open-permissions.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import type { Door } from "../../src/tools/call.ts";
import { openDoor } from "../../src/tools/call.ts";
import type { Tool } from "../../src/tools/tool.ts";
import { toToolbox } from "../../src/tools/toolbox.ts";
import { toGrant } from "../support/door.ts";
import { tempFolder } from "../support/temp.ts";

/** What a scripted model says in one turn: text, calls as [name, arguments], or both. */
export interface Turn {
  readonly text?: string;
  readonly calls?: readonly (readonly [name: string, args: unknown])[];
  readonly stop?: Stop;
}

export const free = { inputUncached: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 0, reasoning: 0 };

/** A model that says its turns in order, by how often it has spoken in the context, so that a repeated call says the same. */
export function scripted(
  turns: readonly Turn[],
  over: Partial<Provider> = {},
): Provider & { readonly requests: ModelRequest[] } {
  const requests: ModelRequest[] = [];
  return {
    name: "scripted",
    identity: "scripted",
    metered: false,
    async *stream(request, signal) {
      signal.throwIfAborted();
      requests.push(request);
      const turn = turns[request.messages.filter(({ role }) => role === "assistant").length] ?? {
        text: "nothing left to say",
      };
      yield* toEvents(turn);
    },
    requests,
    ...over,
  };
}

/** A model that fails with each of these; with one alone always, with more it says "back again" after the last. */
export function failing(...errors: readonly Error[]): Provider {
  let calls = 0;
  return {
    name: "failing",
    identity: "failing",
    metered: false,
    async *stream() {
      const error = errors.length === 1 ? errors[0] : errors[calls];
      calls += 1;
      if (error !== undefined) throw error;
      yield* toEvents({ text: "back again" });
    },
  };
}

/** The events of one scripted turn. */
export function toEvents({ text, calls = [], stop }: Turn): readonly ModelEvent[] {
  const parts: AnswerPart[] = text === undefined ? [] : [{ type: "text", text }];
  // The same ids in each turn, as bad models send them.
  for (const [place, [name, args]] of calls.entries()) {
    const argumentsText = typeof args === "string" ? args : JSON.stringify(args);
    parts.push({ type: "tool_call", callId: `call_${place}`, name, argumentsText });
  }
  const ended = stop ?? (calls.length > 0 ? "tool" : "end");
  return [
    ...(text === undefined ? [] : [{ type: "text.delta" as const, text }]),
    { type: "message.ended", parts, stop: ended, usage: free },
  ];
}

type Sleep = World["sleep"];

export interface TestHostOptions {
  readonly tools: readonly Tool[];
  readonly provider: Provider;
  readonly clock?: Clock;
  readonly config?: Partial<HostConfig>;
  readonly grant?: Partial<Grant>;
  readonly logger?: HostServices["logger"];
  /** A home that outlives this host; missing: a new one that goes away with it. */
  readonly home?: string;
}

/** A real store, permissions, door and host in a folder of its own; only the model is scripted, and retries don't wait. */
export async function openTestHost(options: TestHostOptions) {
  const { tools, provider, clock = systemClock, config = {}, grant = {} } = options;
  await using opened = new AsyncDisposableStack();
  const home = options.home ?? opened.use(await tempFolder()).path;
  const store = opened.use(await openSqliteStore({ path: join(home, "state.db"), clock }));
  const permissions = opened.use(await openPermissions({ home, store, clock, scope: localScope, fourEyes: false }));
  const faults: unknown[] = [];
  const slept: number[] = [];
  const doorOn = (on: Store): Door =>
    openDoor({ toolbox: toToolbox({ tools }), store: on, permissions, onFault: (fault) => faults.push(fault) });
  /** Another host on the same state, as another process would open it. */
  const open = (over: Partial<HostServices> = {}) => {
    const on = over.store ?? store;
    const sleep: Sleep = async (ms, signal) => {
      signal.throwIfAborted();
      slept.push(ms);
    };
    const settings = { ...HostConfig.parse({}), ...config };
    return openHost({
      store: on,
      door: doorOn(on),
      permissions,
      clock,
      scope: localScope,
      principal: localPrincipal,
      config: settings,
      logger: options.logger,
      ...openPolicies({ config: settings, open: () => provider, sleep }),
      sleep,
      ...over,
    });
  };
  const own = toGrant(tools, permissions.now(), permissions.epoch(localPrincipal), grant);
  const host = open();
  const owned = opened.move();
  const signal = new AbortController().signal;

  return {
    store,
    permissions,
    host,
    door: doorOn(store),
    open,
    grant: own,
    faults,
    /** How long each retry would have waited, in ms. */
    slept,
    start: (task: string, over: Partial<Parameters<typeof host.start>[0]> = {}) =>
      host.start({ task, model: "scripted", grant: own, signal, ...over }),
    resume: (runId: string, over: Partial<Parameters<typeof host.resume>[1]> = {}) =>
      host.resume(runId, { grant: own, signal, ...over }),
    events: async (runId: string): Promise<readonly Event[]> => await Array.fromAsync(host.events(runId)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

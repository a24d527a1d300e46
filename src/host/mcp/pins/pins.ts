import { canonicalJson } from "../../../core/json.ts";
import type { Json } from "../../../core/json.ts";
import type { Scope } from "../../../core/scope.ts";
import type { Store } from "../../../store/store.ts";
import type { WireTool } from "../connection/connection.ts";
import { toPublishedName } from "../names.ts";
import { toApproved, toDifferences, toListed, toLoaded, toObserved, toPinnedServer } from "./change.ts";
import type { ServerPins } from "./records.ts";
import { openPinRecords } from "./records.ts";

/** A tool as its server defined it when it was approved, cut down to what the pin covers. */
export interface PinnedTool {
  readonly definition: WireTool;
  /** SHA-256 of name, title, description, inputSchema, outputSchema and annotations as canonical JSON. */
  readonly pin: string;
}

/** What is approved of one server. */
export interface PinnedServer {
  /** Its command, arguments, environment, folder or URL changed: it must not be started or reached until that is approved. */
  readonly isLaunchBlocked: boolean;
  /** Whether its tools were ever listed. */
  readonly isKnown: boolean;
  /** Approved and not changed since; sorted by name. */
  readonly tools: readonly PinnedTool[];
}

/** What changed and waits for an approval. */
export interface Difference {
  readonly server: string;
  /** By the server's own name for it. Missing: the server's command, arguments, environment, folder or URL. */
  readonly tool?: string;
  readonly before: Json | null;
  /** Of a launch, the values of the environment are left out. */
  readonly after: Json | null;
}

/** How much is pinned of one server. */
export interface PinCounts {
  /** Whether its tools were ever listed. */
  readonly isKnown: boolean;
  /** Approved, not changed since, and there when it was last asked. */
  readonly tools: number;
  /** Changes that wait for an approval. */
  readonly pending: number;
}

/** What the operator trusts of the servers behind: on first use as it comes, from then on as it was. */
export interface Pins {
  /**
   * What is known without connecting. Compares the launch (stdio: command, args, env as configured with the variables of Capstan's
   * environment filled in, cwd; HTTP: the url) with the pinned one; a first launch is pinned.
   */
  load(server: string, launch: Json): Promise<PinnedServer>;
  /**
   * After tools/list: pins new tools, keeps what changed beside its pin as pending (blocked), and answers what may be published. A tool
   * that is not listed any more is left out but its pin stays; one that can't be pinned (`toPinned`) counts as not listed, and of two
   * of a name the first counts. Of a server that was forgotten since it was loaded nothing is pinned and nothing may be published.
   */
  observe(server: string, tools: readonly WireTool[]): Promise<PinnedServer>;
  /** All that is pending, of all servers or one. */
  differences(server?: string): Promise<readonly Difference[]>;
  /**
   * `server` or a published tool name; answers what it approved, empty when nothing was pending. With `shown`, what is not pending
   * exactly as it was shown stays pending.
   */
  approve(target: string, shown?: readonly Difference[]): Promise<readonly Difference[]>;
  /** By server, for all that were loaded. */
  counts(): Promise<ReadonlyMap<string, PinCounts>>;
  /** Drops all pins of a server: whatever comes under its name next is new. */
  forget(server: string): Promise<void>;
}

/** The pins of a home, kept in its store; several processes may use them at once. */
export function openPins(services: { readonly store: Store; readonly scope: Scope }): Pins {
  const records = openPinRecords(services);
  /** How this process starts or reaches each server: another one, in another environment, may be blocked where this one is not. */
  const launches = new Map<string, Json>();

  return {
    async load(server, launch) {
      launches.set(server, launch);
      return await records.change(server, (pins) => {
        const loaded = { ...pins, server: toLoaded(pins.server, launch) };
        return { answer: toPinnedServer(loaded, launch), server: loaded.server };
      });
    },

    async observe(server, tools) {
      const listed = toListed(tools);
      return await records.change(server, (pins) => {
        if (pins.server === null) return { answer: { isLaunchBlocked: true, isKnown: false, tools: [] } };
        const changed = toObserved(pins.tools, listed);
        const observed = {
          server: pins.server.isKnown ? pins.server : { ...pins.server, isKnown: true },
          tools: new Map([...pins.tools, ...changed.map((tool) => [tool.approved.definition.name, tool] as const)]),
        };
        return { answer: toPinnedServer(observed, launches.get(server)), server: observed.server, tools: changed };
      });
    },

    async differences(server) {
      return (await readAll(server)).flatMap(([name, pins]) => toDifferences(name, pins));
    },

    async approve(target, shown) {
      const seen = shown === undefined ? undefined : new Set(shown.map(canonicalJson));
      const approved: Difference[] = [];
      for (const server of await records.servers()) {
        const done = await records.change(server, (pins) => {
          const meant = toDifferences(server, pins).filter(
            (difference) => isMeant(target, difference) && (seen === undefined || seen.has(canonicalJson(difference))),
          );
          return { answer: meant, ...toApproved(pins, meant) };
        });
        approved.push(...done);
      }
      return approved;
    },

    async counts() {
      return new Map(
        (await readAll()).map(([name, pins]) => {
          const { isKnown, tools } = toPinnedServer(pins, launches.get(name));
          return [name, { isKnown, tools: tools.length, pending: toDifferences(name, pins).length }] as const;
        }),
      );
    },

    async forget(server) {
      launches.delete(server);
      await records.remove(server);
    },
  };

  async function readAll(server?: string): Promise<readonly (readonly [string, ServerPins])[]> {
    const names = server === undefined ? await records.servers() : [server];
    return await Promise.all(names.map(async (name) => [name, await records.read(name)] as const));
  }
}

function isMeant(target: string, { server, tool }: Difference): boolean {
  return target === server || (tool !== undefined && target === toPublishedName(server, tool));
}

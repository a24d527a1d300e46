import { toCapstanError } from "../../../core/error.ts";
import type { Tool } from "../../../tools/tool.ts";
import type { Source, ToolboxChange } from "../../../tools/toolbox.ts";
import { toBridgedNames } from "./names.ts";
import { toBridgedPrompts } from "./prompts.ts";
import { toBridgedResources } from "./resources.ts";
import { type BridgedServer, openBridgedServer, type ServerServices } from "./server.ts";
import { openTools } from "./tools.ts";
import { toBridgedUris } from "./uris.ts";
import type { McpConfig } from "../config.ts";

/** The MCP servers of the config as one source of tools, resources and prompts. Disposed of, every server has ended. */
export interface Bridge extends Source, AsyncDisposable {
  /**
   * Connects to the servers whose tools were never listed, and waits until they are listed, have failed or have had `startTimeoutMs`,
   * which is only logged. Of the others the tools are known: they are left until they are needed, or, as `known` says, started and not
   * waited for, or listed anew as well. Rejects when the signal aborts.
   */
  ready(signal: AbortSignal, known?: "start" | "list"): Promise<void>;
}

export interface BridgeServices extends Omit<ServerServices, "name" | "config" | "onChange"> {
  readonly config: McpConfig;
  /** The tools that are there already, by name: no server's takes the place of one. */
  readonly taken: ReadonlySet<string>;
}

/** Opens the servers of the config that are enabled. Nothing is started before it is used, or made ready. Throws `store.*`. */
export async function openBridge(services: BridgeServices): Promise<Bridge> {
  const { config, taken } = services;
  await using opened = new AsyncDisposableStack();
  const servers: BridgedServer[] = [];
  const listeners = new Set<(change: ToolboxChange) => void>();
  const ending = new AbortController();
  let collect = (): readonly Tool[] => [];
  let tools: readonly Tool[] = [];
  // What has a prefix is nobody else's, so those without one come last and give way.
  const ordered = Object.entries(config.servers).sort(
    ([a, one], [b, other]) => Number(other.prefix) - Number(one.prefix) || (a < b ? -1 : 1),
  );
  for (const [name, server] of ordered) {
    if (!server.enabled) continue;
    servers.push(opened.use(await openBridgedServer({ ...services, name, config: server, onChange })));
  }
  const all = Object.keys(config.servers);
  const names = toBridgedNames(all);
  const [bare] = servers.filter((server) => !server.config.prefix);
  // Nobody could tell whose a URI without a prefix is, if two servers had such.
  const bridged = servers.map((server) => ({ server, uris: toBridgedUris(server.name, server !== bare, all) }));
  collect = openTools(bridged, { names, taken });
  tools = collect();

  function onChange(change: ToolboxChange): void {
    if (change === "tools") tools = collect();
    for (const listener of [...listeners]) listener(change);
  }

  async function begin(server: BridgedServer, signal: AbortSignal): Promise<void> {
    try {
      await server.begin(signal);
    } catch (thrown) {
      if (!signal.aborted) server.log(toCapstanError(thrown).message);
    }
  }

  opened.move();
  return {
    tools: () => tools,
    resources: bridged.map(({ server, uris }) => toBridgedResources(server, uris)),
    prompts: bridged.map(({ server, uris }) =>
      toBridgedPrompts(server, uris, (own) => {
        const name = names.toPrompt(server, own);
        return names.holderOf(server, name) === undefined ? name : null;
      }),
    ),
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    async ready(signal, known) {
      const waitedFor = servers.filter((server) => known === "list" || !server.isKnown());
      if (known === "start") for (const server of servers) if (server.isKnown()) void begin(server, ending.signal);
      await Promise.all(waitedFor.map((server) => begin(server, signal)));
      signal.throwIfAborted();
    },
    async [Symbol.asyncDispose]() {
      ending.abort();
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}

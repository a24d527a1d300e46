import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { loadConfig } from "./config.ts";
import type { Clock } from "./core/clock.ts";
import { systemClock } from "./core/clock.ts";
import type { Principal, Scope } from "./core/scope.ts";
import { localPrincipal, localScope } from "./core/scope.ts";
import { type Host, openHost } from "./host/host.ts";
import type { Bridge } from "./host/mcp/bridge/bridge.ts";
import { bridgeServers } from "./host/mcp/bridge/config.ts";
import { openPolicies } from "./host/policies/all.ts";
import { openProvider } from "./host/providers/all.ts";
import { agentTools } from "./host/run-agent.ts";
import { runResources } from "./host/run-resources.ts";
import { type Logger, type LogSink, openLogger, parseLogLevel, withFaultLog } from "./host/telemetry/logger.ts";
import { openGraphs } from "./knowledge/graphs.ts";
import { openHome } from "./permissions/keys.ts";
import { openPermissions } from "./permissions/open-permissions.ts";
import type { Grant } from "./permissions/grant.ts";
import type { ToolName } from "./permissions/narrow.ts";
import type { Permissions } from "./permissions/permissions.ts";
import { openEngines } from "./sandbox/all.ts";
import { toSessionLimits } from "./sandbox/config.ts";
import type { Engine } from "./sandbox/engine.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import type { Store } from "./store/store.ts";
import { builtinTools } from "./tools/all.ts";
import { artifactResources } from "./tools/artifact-resources.ts";
import { type Artifacts, openArtifacts } from "./tools/artifacts.ts";
import { toArtifactLimits } from "./tools/config.ts";
import { type Door, openDoor } from "./tools/call.ts";
import { configPrompts } from "./tools/config-prompts.ts";
import { graphResources } from "./tools/graph-resources.ts";
import { openSessions } from "./tools/sessions.ts";
import { type Tool, toToolName } from "./tools/tool.ts";
import type { Toolbox } from "./tools/toolbox.ts";
import { toToolbox } from "./tools/toolbox.ts";
import { version } from "./version.ts";

export interface AppOptions {
  /** The folder that holds keys, config and state, 0700; made when it is missing. */
  readonly home: string;
  /** A config file other than `capstan.yaml` in the home, or the config itself. */
  readonly config?: string | Config;
  /** Own tools, beside the built-in ones. */
  readonly tools?: readonly Tool[];
  /** Where providers find their keys; missing: nowhere. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Gets the faults that no caller may see. Missing: they are dropped. */
  readonly onFault?: (fault: unknown) => void;
  /** Gets lines about the MCP servers behind. Missing: they are dropped. */
  readonly log?: (line: string) => void;
  /** Where the records of `host.telemetry.logs` go; missing: to stderr. */
  readonly logTo?: LogSink;
  readonly clock?: Clock;
}

/** An opened Capstan: one home, one toolbox, one door. Disposing ends sandboxes, flushes and closes the store. */
export interface App extends AsyncDisposable {
  readonly home: string;
  readonly config: Config;
  readonly scope: Scope;
  readonly principal: Principal;
  readonly store: Store;
  readonly permissions: Permissions;
  readonly engines: readonly Engine[];
  readonly artifacts: Artifacts;
  readonly toolbox: Toolbox;
  readonly door: Door;
  readonly host: Host;
  /** The MCP servers behind; undefined where the config names none. They are not started before they are used or made ready. */
  readonly bridge: Bridge | undefined;
  /** Every tool there is now, as grants name them. */
  readonly toolNames: readonly ToolName[];
  readonly onFault: (fault: unknown) => void;
  /** The log of the process; undefined where it is off. */
  readonly logger: Logger | undefined;
}

/** Opens the parts in their order; what is expensive opens when it is first used. Throws `config.*`, `store.*`. */
export async function openApp(options: AppOptions): Promise<App> {
  const { home, clock = systemClock, env = {}, log = () => {} } = options;
  await openHome(home);
  const given = options.config;
  const config = typeof given === "object" ? given : await loadConfig(home, given);
  const logger = await openLogger(parseLogLevel(env["CAPSTAN_LOG"]) ?? config.host.telemetry.logs, options.logTo);
  const onFault = withFaultLog(options.onFault ?? (() => {}), logger, clock);
  const scope = localScope;
  const principal = localPrincipal;

  await using opened = new AsyncDisposableStack();
  const store = opened.use(await openSqliteStore({ path: join(home, "state.db"), clock }));
  const permissions = opened.use(
    await openPermissions({ home, store, clock, scope, fourEyes: config.permissions.fourEyes }),
  );
  const engines = openEngines({ cacheDir: join(home, "cache"), config: config.sandbox });
  for (const engine of engines) opened.use(engine);
  const graphs = opened.use(openGraphs({ folder: join(home, "knowledge"), clock }));
  const artifacts = openArtifacts({ store, clock, limits: toArtifactLimits(config.tools) });
  const sessions = opened.use(openSessions({ store, clock, limits: toSessionLimits(config.sandbox) }));
  await Promise.all([artifacts, sessions].map((kept) => kept.sweep(scope).catch(onFault)));
  const hidden = await stat(home, { bigint: true });
  const listed = (grant: Grant): readonly Tool[] => door.list(grant);
  const tools = [
    ...builtinTools({ store, graphs, engines, sandbox: config.sandbox, clock, artifacts, sessions, hidden, listed }),
    ...agentTools({ host: () => host, config: config.host }),
    ...(options.tools ?? []),
  ];
  const taken = new Set(tools.map(({ name }) => name));
  const behind = { config: config.mcp, env, home, version, clock, store, scope, principal, taken, log };
  const bridge = opened.use(await bridgeServers(behind));
  const toolbox = toToolbox({
    tools,
    sources: bridge === undefined ? [] : [bridge],
    resources: [artifactResources(artifacts), graphResources(graphs), runResources({ store, permissions })],
    prompts: [configPrompts(config.server.prompts)],
  });
  const door = openDoor({ toolbox, store, permissions, onFault });
  const open = (model: string, baseUrl?: string) => openProvider(model, { config: config.host, env, baseUrl });
  const policies = opened.use(openPolicies({ config: config.host, owner: { home, scope, principal, clock }, open }));
  const host = openHost({
    store,
    door,
    permissions,
    clock,
    scope,
    principal,
    config: config.host,
    home,
    onFault,
    logger,
    ...policies,
  });

  const owned = opened.move();
  return {
    home,
    config,
    scope,
    principal,
    store,
    permissions,
    engines,
    artifacts,
    toolbox,
    door,
    host,
    bridge,
    get toolNames() {
      return toolbox.tools.map(toToolName);
    },
    onFault,
    logger,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

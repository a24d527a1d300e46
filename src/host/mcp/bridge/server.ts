import { CapstanError, toCapstanError } from "../../../core/error.ts";
import type { Json, JsonObject } from "../../../core/json.ts";
import type { Principal } from "../../../core/scope.ts";
import type { SourceContext } from "../../../tools/resource.ts";
import type { ToolboxChange } from "../../../tools/toolbox.ts";
import { type Approved, openApproved } from "./approved.ts";
import { type Answered, openAsking } from "./asking.ts";
import { openSeat, type Seat } from "./seat.ts";
import { openSeats } from "./seats.ts";
import { openServerLog } from "../connection/text.ts";
import { openConnection } from "../connection/connect.ts";
import type { ConnectionServices, ServerMethod } from "../connection/connection.ts";
import { expandVariables } from "../connection/environment.ts";
import type { PinnedTool, Pins } from "../pins/pins.ts";

/** One server of the config, for all principals. */
export interface BridgedServer extends AsyncDisposable {
  readonly name: string;
  readonly config: ConnectionServices["config"];
  /** Lines about it, not more than a person can read. */
  readonly log: (line: string) => void;
  /** What may be published: approved, and not changed since. */
  readonly tools: () => readonly PinnedTool[];
  /** Whether its tools were ever listed. */
  readonly isKnown: () => boolean;
  /** Connects and lists its tools, if it may be connected to. Throws `mcp.*`. */
  begin(signal: AbortSignal): Promise<void>;
  /**
   * Lets work have the principal's own connection. Throws `mcp.changed` while how it is started or reached waits for an approval, and
   * what the work throws, as `request` does.
   */
  use<T>(principal: Principal, work: (seat: Seat) => Promise<T>): Promise<T>;
  /**
   * A request that may ask before it answers, for the principal of the context. Throws as `use` and `Asking.request` do, and what a
   * server says as it refuses stands in the log alone: outside of results nothing marks it as untrusted.
   */
  request(method: ServerMethod, params: JsonObject, context: SourceContext): Promise<Answered>;
  /** The same for a tool. Throws `mcp.changed` too where it is not defined as its pin says. */
  call(tool: PinnedTool, args: JsonObject, context: SourceContext): Promise<Answered>;
}

export interface ServerServices extends ConnectionServices {
  readonly pins: Pins;
  /** Whose connection is always followed: its lists are those that are published. */
  readonly principal: Principal;
  readonly onChange: (change: ToolboxChange) => void;
}

/** Opens one server: what is pinned of it is known at once, and nothing is started. Throws `store.*`. */
export async function openBridgedServer(services: ServerServices): Promise<BridgedServer> {
  const { name, config, pins, principal: operator, clock, onChange } = services;
  const log = openServerLog(name, services.log);
  const found = toLaunch(services);
  if ("problem" in found) log(found.problem.message);
  const approved: Approved | undefined =
    "problem" in found
      ? undefined
      : await openApproved({ server: name, launch: found.launch, pins, log, onChange: () => changed() });
  let wasBlocked = approved?.now().isLaunchBlocked === true;
  const asking = openAsking(name, config.prefix);
  const ending = new AbortController();
  const seats = openSeats(name, open, isOperator, clock);

  function open(principal: Principal): Seat {
    const connection = openConnection({ ...services, principal });
    const own = { server: name, connection, listMs: config.startTimeoutMs, callMs: config.timeoutMs, log };
    if (approved === undefined || !isOperator(principal)) return openSeat(own);
    const onTools = approved.observe.bind(approved);
    return openSeat({ ...own, onChange, onTools });
  }

  function isOperator({ org, user }: Principal): boolean {
    return org === operator.org && user === operator.user;
  }

  function changed(): void {
    const isBlocked = approved?.now().isLaunchBlocked === true;
    const isFreed = wasBlocked && !isBlocked;
    wasBlocked = isBlocked;
    onChange("tools");
    if (isFreed) begin(ending.signal).catch((thrown: unknown) => log(toCapstanError(thrown).message));
  }

  async function begin(signal: AbortSignal): Promise<void> {
    if (approved === undefined || approved.now().isLaunchBlocked) return;
    await use(operator, (seat) => seat.listTools(signal));
  }

  async function use<T>(principal: Principal, work: (seat: Seat) => Promise<T>): Promise<T> {
    if ("problem" in found) throw found.problem;
    if (wasBlocked) {
      const text = `How the MCP server ${name} is started or reached is not what was approved, so it is not. Look at what changed: capstan tools diff ${name}`;
      throw new CapstanError("mcp.changed", text, { details: { server: name } });
    }
    return await seats.use(principal, work);
  }

  function withoutWords(thrown: unknown): never {
    if (!(thrown instanceof CapstanError) || thrown.code !== "mcp.server_error") throw thrown;
    log(thrown.message);
    const { code, details } = thrown;
    const text = `The MCP server ${name} refused (${String(details["code"])}). What it says stands in Capstan's log.`;
    throw new CapstanError(code, text, { cause: thrown, details: { server: name, code: details["code"] } });
  }

  return {
    ...{ name, config, log, begin },
    use: async (principal, work) => await use(principal, work).catch(withoutWords),
    tools: () => (wasBlocked ? [] : (approved?.now().tools ?? [])),
    isKnown: () => approved?.now().isKnown ?? false,
    request: async (method, params, context) =>
      await use(context.principal, (seat) => asking.request(seat.connection, method, params, context)).catch(
        withoutWords,
      ),
    call: async ({ definition, pin }, args, context) =>
      await use(context.principal, async (seat) => {
        await seat.demandPin(definition.name, pin, context.signal);
        const params = { name: definition.name, arguments: args };
        return await asking.request(seat.connection, "tools/call", params, context);
      }),
    async [Symbol.asyncDispose]() {
      ending.abort();
      asking[Symbol.dispose]();
      approved?.[Symbol.dispose]();
      await seats[Symbol.asyncDispose]();
    },
  };
}

/** What is pinned of how a server is started or reached; or why it can't be. */
function toLaunch({
  name,
  config,
  env,
}: ServerServices): { readonly launch: Json } | { readonly problem: CapstanError } {
  if ("url" in config) return { launch: { url: config.url } };
  const { command, args, cwd = null } = config;
  try {
    const given = Object.entries(config.env).map(([key, text]) => {
      return [key, expandVariables(text, env, `mcp.servers.${name}.env.${key}`)] as const;
    });
    return { launch: { command, args, cwd, env: Object.fromEntries(given) } };
  } catch (thrown) {
    return { problem: toCapstanError(thrown) };
  }
}

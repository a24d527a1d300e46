import { CapstanError } from "../../../core/error.ts";
import type { ToolboxChange } from "../../../tools/toolbox.ts";
import { openWatching, type Watching } from "./watching.ts";
import { showText } from "../connection/text.ts";
import { within } from "../connection/wait.ts";
import type {
  Connection,
  ServerChange,
  WirePrompt,
  WireResource,
  WireResourceTemplate,
  WireTool,
} from "../connection/connection.ts";
import { toPinned } from "../pins/definition.ts";

/** How long changes of a server's tools are gathered before they are listed again. */
const gatherMs = 250;
/** How often a call waits for the tools to be listed again while they go on changing. */
const maxRounds = 3;
/** How long a server that could not be asked for a list is not asked for one again, unless it comes back by itself. */
const failedMs = 30_000;

/** One principal at one server: a connection of its own, and what is known of the server through it. */
export interface Seat extends AsyncDisposable {
  readonly connection: Connection;
  readonly watching: Watching;
  /** Lists the tools now. Throws `mcp.*`, `mcp.timeout` after `listMs`. */
  listTools(signal: AbortSignal): Promise<void>;
  /** Throws `mcp.changed` where the server's definition of a tool is not the one that the pin stands for, and `mcp.*`. */
  demandPin(tool: string, pin: string, signal: AbortSignal): Promise<void>;
  readonly resources: KeptList<WireResource>;
  readonly templates: KeptList<WireResourceTemplate>;
  readonly prompts: KeptList<WirePrompt>;
}

/** A list that is read once, until the server says that it changed or is another one. Empty while the server is not there. */
export type KeptList<T> = (signal: AbortSignal) => Promise<readonly T[]>;

export interface SeatServices {
  readonly server: string;
  readonly connection: Connection;
  /** How long whoever asks for a list waits for it. */
  readonly listMs: number;
  /** How long a call waits for the tools to be listed. */
  readonly callMs: number;
  readonly log: (line: string) => void;
  /** Hears what is listed, before a call that waits for it goes on; then the tools are followed, and not listed for calls alone. */
  readonly onTools?: (tools: readonly WireTool[], pins: ReadonlyMap<string, string>) => Promise<void>;
  readonly onChange?: (change: Exclude<ToolboxChange, "tools">) => void;
}

/** Takes a seat. The connection is its own from then on. */
export function openSeat({ server, connection, listMs, callMs, log, ...heard }: SeatServices): Seat {
  const { onTools, onChange = () => {} } = heard;
  const ending = new AbortController();
  const watching = openWatching(server, connection);
  let pins: ReadonlyMap<string, string> = new Map();
  let isStale = true;
  let isDown = false;
  let failedAt = -Infinity;
  let listing: Promise<void> | undefined;
  let gathering: NodeJS.Timeout | undefined;
  const resources = keep(() => connection.listResources(ending.signal));
  const templates = keep(() => connection.listResourceTemplates(ending.signal));
  const prompts = keep(() => connection.listPrompts(ending.signal));

  connection.on((change) => {
    if (change.type === "log") return log(`${change.level}: ${showText(JSON.stringify(change.data))}`);
    watching.onChange(change);
    follow(change);
  });

  function follow({ type }: ServerChange): void {
    if (type === "resources" || type === "prompts") changed(type);
    if (type === "tools" || type === "down") isStale = true;
    if (type === "up") {
      const wasAway = isDown || failedAt > -Infinity;
      failedAt = -Infinity;
      if (wasAway) for (const kind of ["resources", "prompts"] as const) changed(kind);
    }
    if (type === "up" || type === "down") isDown = type === "down";
    // A listing that has connected lists what it has connected to.
    if (type === "tools" || (type === "up" && listing === undefined)) gather();
  }

  function changed(kind: "resources" | "prompts"): void {
    for (const list of kind === "resources" ? [resources, templates] : [prompts]) list.drop();
    onChange(kind);
  }

  function gather(): void {
    if (onTools === undefined || gathering !== undefined) return;
    gathering = setTimeout(() => {
      gathering = undefined;
      listOnce().catch((thrown: unknown) => {
        if (!ending.signal.aborted) log(thrown instanceof Error ? thrown.message : String(thrown));
      });
    }, gatherMs).unref();
  }

  function listOnce(): Promise<void> {
    return (listing ??= listNow().finally(() => (listing = undefined)));
  }

  async function listNow(): Promise<void> {
    isStale = false;
    try {
      const tools = await connection.listTools(ending.signal);
      const listed = tools.flatMap((tool) => toPinned(tool) ?? []);
      // Of two of a name, the first counts.
      const found = new Map(listed.toReversed().map(({ definition, pin }) => [definition.name, pin]));
      await onTools?.(tools, found);
      pins = found;
    } catch (thrown) {
      isStale = true;
      throw thrown;
    }
  }

  function whileThere<T>({ get }: Kept<T>): KeptList<T> {
    return async (signal) => {
      if (isDown || performance.now() - failedAt < failedMs) return [];
      try {
        return await inTime(get(), listMs, signal);
      } catch (thrown) {
        if (!signal.aborted) failedAt = performance.now();
        throw thrown;
      }
    };
  }

  /** The list itself goes on for whoever asks next. */
  async function inTime<T>(list: Promise<T>, ms: number, signal: AbortSignal): Promise<T> {
    const late = AbortSignal.timeout(ms);
    try {
      return await within(list, AbortSignal.any([signal, late]));
    } catch (thrown) {
      if (thrown !== late.reason) throw thrown;
      const text = `The MCP server ${server} listed nothing within ${ms} ms. Nothing else was asked of it. Look at its log.`;
      throw new CapstanError("mcp.timeout", text, { details: { server } });
    }
  }

  return {
    connection,
    watching,
    listTools: async (signal) => await inTime(listOnce(), listMs, signal),
    async demandPin(tool, pin, signal) {
      const isOld = (): boolean => isStale || listing !== undefined;
      for (let round = 0; isOld() && round < maxRounds; round += 1) await inTime(listOnce(), callMs, signal);
      if (pins.get(tool) === pin) return;
      const text = `What the MCP server ${server} says of its tool ${showText(tool, 64)} is not what was approved. Nothing was asked of it. Look at what changed: capstan tools diff ${server}`;
      throw new CapstanError("mcp.changed", text, { details: { server } });
    },
    resources: whileThere(resources),
    templates: whileThere(templates),
    prompts: whileThere(prompts),
    async [Symbol.asyncDispose]() {
      ending.abort(new CapstanError("mcp.server_gone", `The MCP server ${server} is no longer in use.`));
      clearTimeout(gathering);
      await connection[Symbol.asyncDispose]();
    },
  };
}

interface Kept<T> {
  readonly get: () => Promise<readonly T[]>;
  readonly drop: () => void;
}

function keep<T>(read: () => Promise<readonly T[]>): Kept<T> {
  let kept: Promise<readonly T[]> | undefined;
  return {
    get() {
      if (kept !== undefined) return kept;
      const fresh = read();
      kept = fresh;
      fresh.catch(() => {
        if (kept === fresh) kept = undefined;
      });
      return fresh;
    },
    drop: () => (kept = undefined),
  };
}

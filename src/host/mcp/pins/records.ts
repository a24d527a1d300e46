import { z } from "zod";
import { CapstanError } from "../../../core/error.ts";
import { isJson, isJsonObject, sha256 } from "../../../core/json.ts";
import type { Json } from "../../../core/json.ts";
import type { Scope } from "../../../core/scope.ts";
import type { RecordWrite, Store, StoredRecord } from "../../../store/store.ts";
import type { WireTool } from "../connection/connection.ts";
import { lists } from "../connection/lists.ts";

const serverKind = "mcp_server";
const toolKind = "mcp_tool";
const maxTries = 20;

// By reference: a schema that copies would lose the key `__proto__`, which a pin covers as any other.
const AnyJson = z.custom<Json>(isJson);
const Definition = z.custom<WireTool>((value) => isJsonObject(value) && lists.tools.isWhole(value));
const Pinned = z.strictObject({ definition: Definition, pin: z.string() }).readonly();

/** How a server is started or reached, as `toKeptLaunch` keeps it, and what waits to take its place. */
const ServerRecord = z
  .strictObject({ salt: z.string(), launch: AnyJson, pending: AnyJson.exactOptional(), isKnown: z.boolean() })
  .readonly();
export type ServerRecord = z.infer<typeof ServerRecord>;

/** One tool of a server: what was approved, what waits to take its place, and whether the server listed it when last asked. */
const ToolRecord = z
  .strictObject({ approved: Pinned, pending: Pinned.exactOptional(), isListed: z.boolean() })
  .readonly();
export type ToolRecord = z.infer<typeof ToolRecord>;

/** All that is kept of one server. */
export interface ServerPins {
  /** Null: never loaded, or forgotten. */
  readonly server: ServerRecord | null;
  /** By the server's own names. */
  readonly tools: ReadonlyMap<string, ToolRecord>;
}

/** What a change of one server's pins writes; what is not named stays. */
export interface PinsChange<T> {
  readonly answer: T;
  readonly server?: ServerRecord;
  readonly tools?: readonly ToolRecord[];
}

/** The records behind the pins: one for each server, one for each tool, which change only together with their server's. */
export function openPinRecords({ store, scope }: { readonly store: Store; readonly scope: Scope }) {
  return {
    async servers(): Promise<readonly string[]> {
      return (await store.records(scope, serverKind)).map(({ key }) => key);
    },

    async read(server: string): Promise<ServerPins> {
      return (await load(server)).pins;
    },

    /** Decides on what is there now, again where another process was faster. `decide` must be free of effects. */
    async change<T>(server: string, decide: (pins: ServerPins) => PinsChange<T>): Promise<T> {
      return await again(async () => {
        const { pins, version } = await load(server);
        const { answer, server: value = pins.server, tools = [] } = decide(pins);
        if (value === null || (value === pins.server && tools.length === 0)) return answer;
        const written = tools.map((tool) => ({ kind: toolKind, key: toKey(server, tool), value: tool }));
        // Whoever changes a tool raises the version of its server: so no change is made of what was read before another.
        await commit([{ kind: serverKind, key: server, value, ifVersion: version }, ...written]);
        return answer;
      });
    },

    async remove(server: string): Promise<void> {
      await again(async () => {
        const { pins, version } = await load(server);
        if (pins.server === null) return;
        const gone = [...pins.tools.values()].map((tool) => ({ kind: toolKind, key: toKey(server, tool) }));
        await commit([{ kind: serverKind, key: server, ifVersion: version }, ...gone]);
      });
    },
  };

  async function load(server: string): Promise<{ readonly pins: ServerPins; readonly version: number }> {
    const record = await store.record(scope, serverKind, server);
    const tools = (await store.records(scope, toolKind, { prefix: `${server}/` })).map((found) =>
      parse(ToolRecord, found),
    );
    return {
      pins: {
        server: record === null ? null : parse(ServerRecord, record),
        tools: new Map(tools.map((tool) => [tool.approved.definition.name, tool])),
      },
      version: record?.version ?? 0,
    };
  }

  async function commit(records: readonly RecordWrite[]): Promise<void> {
    await store.commit({ scope, records, durability: "power" });
  }
}

/** A tool's own name may be of any length and hold anything; a server's holds no `/`. */
function toKey(server: string, { approved }: ToolRecord): string {
  return `${server}/${sha256(JSON.stringify(approved.definition.name))}`;
}

async function again<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (thrown) {
      const isRace = thrown instanceof CapstanError && thrown.code === "store.conflict";
      if (!isRace || tries === maxTries) throw thrown;
    }
  }
}

function parse<T>(schema: z.ZodType<T>, { value }: StoredRecord): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new CapstanError(
    "store.corrupt",
    "The pins of an MCP server can't be read. Restore the store from a backup, or remove the server and add it again.",
  );
}

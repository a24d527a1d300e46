import { CapstanError } from "../../../core/error.ts";
import { isJsonObject, type JsonObject } from "../../../core/json.ts";
import { type Live, openKeeper } from "./connect-keep.ts";
import { toChange, toLogEntry } from "./changes.ts";
import { type ListName, lists, readPages } from "./lists.ts";
import type { Owner } from "./peer.ts";
import { openServerLog } from "./text.ts";
import { within } from "./wait.ts";
import type {
  Connection,
  ConnectionServices,
  RequestOptions,
  ServerChange,
  ServerMethod,
  WireTool,
} from "./connection.ts";
import { toHeaderParams, toParamHeaders } from "./http-params.ts";

/** Arguments and headers disagree (2026-07-28, streamable HTTP): told before the call is begun. */
const headerMismatch = -32_020;

/** Opens the connection to one server. Nothing is started or sent before it is used, and all of it has ended when it is disposed of. */
export function openConnection(services: ConnectionServices): Connection {
  const { name, config } = services;
  const log = openServerLog(name, services.log);
  const listeners = new Set<(change: ServerChange) => void>();
  const uris = new Set<string>();
  /** By tool: the schemas that `listTools` brought, for the headers that they ask for. */
  let schemas = new Map<string, JsonObject>();

  const emit = (change: ServerChange): void => {
    for (const listener of [...listeners]) listener(change);
  };
  const keeper = openKeeper({
    ...services,
    log,
    emit,
    isHeard: () => listeners.size > 0,
    uris: () => [...uris],
    onNotification(method, params, owner) {
      const change = toChange(method, params);
      if (change !== undefined) return emit(change);
      const entry = toLogEntry(method, params);
      if (entry === undefined) return;
      if (owner?.onLog === undefined) emit({ type: "log", ...entry });
      else owner.onLog(entry);
    },
  });

  /** Once more where the server refused because it knew no such session: it had not begun. */
  async function withServer<T>(signal: AbortSignal, timeoutMs: number, work: (server: Live) => Promise<T>): Promise<T> {
    const server = await keeper.live(signal, timeoutMs);
    try {
      return await work(server);
    } catch (thrown) {
      if (detailOf(thrown, "session") !== "lost") throw thrown;
      keeper.forget(server, "no longer knows the session");
      return await work(await keeper.live(signal, timeoutMs));
    }
  }

  async function send(server: Live, method: string, params: JsonObject, signal: AbortSignal): Promise<JsonObject> {
    const { timeoutMs: silenceMs, totalTimeoutMs: totalMs } = config;
    return await server.send(method, params, { signal, silenceMs, totalMs });
  }

  async function list<T extends JsonObject>(what: ListName<T>, signal: AbortSignal): Promise<readonly T[]> {
    return await withServer(signal, config.startTimeoutMs, async (server) => {
      if (server.capabilities[what.capability] === undefined) return [];
      const found = await readPages(name, what, (method, params) => send(server, method, params, signal));
      const good = found.filter((item): item is T => what.isWhole(item));
      if (good.length < found.length) log(`${found.length - good.length} malformed ${what.key} were left out`);
      return good;
    });
  }

  async function listTools(signal: AbortSignal): Promise<readonly WireTool[]> {
    const found = await list(lists.tools, signal);
    schemas = new Map(found.map((tool) => [tool.name, tool.inputSchema]));
    const server = keeper.current();
    if (server === undefined || !mirrorsArguments(server)) return found;
    const good = found.filter((tool) => toHeaderParams(tool.inputSchema) !== undefined);
    if (good.length < found.length)
      log(`${found.length - good.length} tools were left out, whose x-mcp-header breaks the rules`);
    return good;
  }

  async function request(method: ServerMethod, params: JsonObject, options: RequestOptions): Promise<JsonObject> {
    const { signal, onProgress, ask, onLog, clientCapabilities } = options;
    const silenceMs = options.timeoutMs ?? config.timeoutMs;
    const totalMs = options.totalTimeoutMs ?? config.totalTimeoutMs;
    const owner: Owner = { ...(ask === undefined ? {} : { ask }), ...(onLog === undefined ? {} : { onLog }) };
    const sendOnce = async (server: Live): Promise<JsonObject> =>
      await server.send(method, params, {
        ...{ signal, silenceMs, totalMs, owner },
        ...(method === "tools/call" && mirrorsArguments(server) ? { headers: toHeaders(params) } : {}),
        ...(onProgress === undefined ? {} : { onProgress }),
        ...(clientCapabilities === undefined ? {} : { clientCapabilities }),
      });
    return await withServer(signal, Math.min(silenceMs, totalMs), async (server) => {
      try {
        return await sendOnce(server);
      } catch (thrown) {
        if (detailOf(thrown, "code") !== headerMismatch || method !== "tools/call") throw thrown;
        await listTools(signal);
        return await sendOnce(server);
      }
    });
  }

  function toHeaders({ name: tool, arguments: args }: JsonObject): Record<string, string> {
    const schema = typeof tool === "string" ? schemas.get(tool) : undefined;
    const wanted = schema === undefined ? undefined : toHeaderParams(schema);
    return wanted === undefined || !isJsonObject(args) ? {} : toParamHeaders(wanted, args);
  }

  async function follow(server: Live, uri: string, isWanted: boolean, signal: AbortSignal): Promise<void> {
    if (server.following !== undefined) await within(server.following.refresh(), signal);
    else await send(server, isWanted ? "resources/subscribe" : "resources/unsubscribe", { uri }, signal);
  }

  return {
    era: () => keeper.current()?.era,
    capabilities: () => keeper.current()?.capabilities,
    listTools,
    listResources: async (signal) => await list(lists.resources, signal),
    listResourceTemplates: async (signal) => await list(lists.templates, signal),
    listPrompts: async (signal) => await list(lists.prompts, signal),
    request,
    async subscribe(uri, signal) {
      uris.add(uri);
      try {
        await withServer(signal, config.startTimeoutMs, (server) => follow(server, uri, true, signal));
      } catch (thrown) {
        uris.delete(uri);
        throw thrown;
      }
    },
    async unsubscribe(uri, signal) {
      const server = keeper.current();
      if (uris.delete(uri) && server !== undefined) await follow(server, uri, false, signal);
    },
    on(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    [Symbol.asyncDispose]: () => keeper[Symbol.asyncDispose](),
  };
}

/** Whether the server wants arguments in headers too: modern ones over HTTP. */
function mirrorsArguments({ era, hasOwnStreams }: Live): boolean {
  return era === "modern" && hasOwnStreams;
}

function detailOf(thrown: unknown, key: string): unknown {
  return thrown instanceof CapstanError ? thrown.details[key] : undefined;
}

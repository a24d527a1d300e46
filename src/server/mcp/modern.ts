import {
  CLIENT_CAPABILITIES_META_KEY,
  type JSONRPCNotification,
  type JSONRPCRequest,
  type JSONRPCResponse,
  LOG_LEVEL_META_KEY,
  PROTOCOL_VERSION_META_KEY,
  ProtocolError,
  ProtocolErrorCode,
  SERVER_INFO_META_KEY,
} from "@modelcontextprotocol/server";
import { isJsonObject } from "../../core/json.ts";
import type { LogEntry } from "../../tools/tool.ts";
import type { Connection } from "./connection.ts";
import { demandRevision, modernRevision, toCanAnswer } from "./envelope.ts";
import type { Exchange } from "./exchange.ts";
import { findMethod, type Methods, methods } from "./methods.ts";
import { cacheHints, capabilities, instructions } from "./offer.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { taskMethods } from "./tasks/methods.ts";
import { demandTasks, tasksExtension } from "./tasks/wire.ts";

/** What a transport gives a request. */
export interface ModernIo {
  /** Aborts when the request is cancelled or its client is gone: it gets no answer then. */
  readonly signal: AbortSignal;
  /** Sends a notification of this request. Resolves when it is written; never rejects. */
  readonly notify: (notification: JSONRPCNotification) => Promise<void>;
  readonly onRefused?: Exchange["onRefused"];
  readonly demandMirrored?: Exchange["demandMirrored"];
  readonly bearer?: string;
}

/** The methods of this era. */
const all: Methods = { ...methods, ...taskMethods };
const offered = { ...capabilities, extensions: { [tasksExtension]: {} } };
const discovered = { supportedVersions: [modernRevision], capabilities: offered, instructions };

/**
 * Answers a request of revision 2026-07-28, which stands for itself: the envelope is checked (basic, `_meta`), the method answers, and the
 * result says what it is. Never rejects: what goes wrong is a JSON-RPC error. The SDK does the same at several times the cost of a call.
 */
export function performModern(
  connection: Connection,
  subscriptions: Subscriptions,
  request: JSONRPCRequest,
  io: ModernIo,
): Promise<JSONRPCResponse> {
  const { id, method } = request;
  // What waits for the end of a subscription keeps nothing of its request but this.
  return toResult(connection, subscriptions, request, io).then(
    (result) => {
      const hint = cacheHints.get(method);
      const own = "_meta" in result && isJsonObject(result["_meta"]) ? result["_meta"] : {};
      const meta = { ...own, [SERVER_INFO_META_KEY]: toServerInfo(connection.version) };
      return { jsonrpc: "2.0", id, result: { resultType: "complete", ...result, ...hint, _meta: meta } };
    },
    (thrown: unknown) => ({ jsonrpc: "2.0", id, error: toError(thrown) }),
  );
}

async function toResult(
  connection: Connection,
  subscriptions: Subscriptions,
  { id, method, params }: JSONRPCRequest,
  io: ModernIo,
): Promise<object> {
  const envelope = toEnvelope(params);
  if (envelope === undefined) throw new ProtocolError(envelopeMissing.code, envelopeMissing.message);
  demandRevision(envelope);
  if (method === "server/discover") return discovered;
  const exchange = toExchange(params, envelope, io);
  if (method !== "subscriptions/listen") return await findMethod(method, all)(connection, params, exchange);
  if (isJsonObject(params?.["notifications"]) && params["notifications"]["taskIds"] !== undefined) {
    demandTasks(exchange);
  }
  return subscriptions.listen({ id, params, exchange, notify: io.notify });
}

/** How the server names itself. */
export const toServerInfo = (version: string) => ({ name: "capstan", title: "Capstan", version });

/** The envelope of a request; undefined where a part that must be there is missing. */
export function toEnvelope(params: JSONRPCRequest["params"]): Readonly<Record<string, unknown>> | undefined {
  const meta = params?.["_meta"];
  const isWhole =
    typeof meta?.[PROTOCOL_VERSION_META_KEY] === "string" && isJsonObject(meta[CLIENT_CAPABILITIES_META_KEY]);
  return isWhole ? meta : undefined;
}

/** The error for a request without its envelope. */
export const envelopeMissing = {
  code: ProtocolErrorCode.InvalidParams,
  message: `Each request of ${modernRevision} carries _meta["${PROTOCOL_VERSION_META_KEY}"] and ["${CLIENT_CAPABILITIES_META_KEY}"].`,
};

function toExchange(
  params: JSONRPCRequest["params"],
  envelope: Readonly<Record<string, unknown>>,
  { signal, notify, onRefused, demandMirrored, bearer }: ModernIo,
): Exchange {
  return {
    ...(bearer === undefined ? {} : { bearer }),
    ...(onRefused === undefined ? {} : { onRefused }),
    ...(demandMirrored === undefined ? {} : { demandMirrored }),
    meta: envelope,
    signal,
    can: toCanAnswer(envelope, undefined),
    requestState: params?.["requestState"],
    inputResponses: params?.["inputResponses"],
    notify: (method, told) => void notify({ jsonrpc: "2.0", method, params: told }),
    log: toLog(envelope[LOG_LEVEL_META_KEY], notify),
  };
}

const levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/** A request hears of log lines from the wanted level on, and of none where none is wanted (utilities/logging). */
export function toLog(wanted: unknown, notify: ModernIo["notify"]): (entry: LogEntry) => void {
  const from = typeof wanted === "string" ? levels.indexOf(wanted) : -1;
  if (from === -1) return () => {};
  return ({ level, data, logger }) => {
    if (levels.indexOf(level) < from) return;
    const params = { level, data, ...(logger === undefined ? {} : { logger }) };
    void notify({ jsonrpc: "2.0", method: "notifications/message", params });
  };
}

/** What goes over the wire of an error. A fault of ours says no more than that it is one. */
export function toError(thrown: unknown): { code: number; message: string; data?: unknown } {
  if (!(thrown instanceof ProtocolError)) return { code: ProtocolErrorCode.InternalError, message: "Internal error" };
  const { code, message, data } = thrown;
  return { code, message, ...(data === undefined ? {} : { data }) };
}

import {
  isJSONRPCNotification,
  isJSONRPCRequest,
  type JSONRPCMessage,
  type JSONRPCRequest,
  PROTOCOL_VERSION_META_KEY,
  type RequestId,
  type Transport,
  UnsupportedProtocolVersionError,
} from "@modelcontextprotocol/server";
import type { Grant } from "../../permissions/grant.ts";
import type { Dispatch } from "./dispatch.ts";
import { modernRevision } from "./envelope.ts";
import type { Older } from "./older.ts";

/**
 * Serves one connection in the era that its opening exchange selects (2026-07-28, transports/stdio): a request that names the revision
 * in its envelope selects the modern one, anything else the older; `server/discover` selects nothing, since clients ask with it before
 * they fall back to `initialize`. Resolves when the transport has closed and what it carried has been cancelled.
 */
export async function serveEras(
  wire: Transport,
  {
    dispatch,
    opener,
    onError,
  }: { readonly dispatch: Dispatch; readonly opener: Grant; readonly onError: (error: Error) => void },
): Promise<void> {
  const inFlight = new Map<RequestId, AbortController>();
  const closed = Promise.withResolvers<void>();
  let era: "modern" | "older" | undefined;
  let older: Older | undefined;

  wire.onmessage = (message) => {
    era ??= toEra(message);
    if (era === "older") toOlder(message);
    else if (isJSONRPCRequest(message)) void answer(message).catch(onError);
    else if (isJSONRPCNotification(message) && message.method === "notifications/cancelled") {
      inFlight.get(toId(message.params?.["requestId"]))?.abort();
    }
  };
  wire.onclose = () => {
    for (const controller of inFlight.values()) controller.abort();
    older?.close();
    closed.resolve();
  };
  await wire.start();
  await closed.promise;

  async function answer(request: JSONRPCRequest): Promise<void> {
    if (request.method === "initialize") return await refuseOlder(request);
    const controller = new AbortController();
    inFlight.set(request.id, controller);
    const { signal } = controller;
    const notify = (notification: JSONRPCMessage): Promise<void> => wire.send(notification).catch(onError);
    const response = await dispatch.modern(request, { signal, notify });
    if (inFlight.get(request.id) === controller) inFlight.delete(request.id); // A cancelled request's id may be in use again.
    if (!signal.aborted) await wire.send(response);
  }

  async function refuseOlder({ id, params }: JSONRPCRequest): Promise<void> {
    const requested = String(params?.["protocolVersion"]);
    const { code, message, data } = new UnsupportedProtocolVersionError({ supported: [modernRevision], requested });
    await wire.send({ jsonrpc: "2.0", id, error: { code, message, data } });
  }

  function toOlder(message: JSONRPCMessage): void {
    older ??= dispatch.toOlder(opener, (sent) => wire.send(sent).catch(onError));
    const bad = older.receive(message, { grant: opener }, null);
    if (bad !== null) onError(new Error(bad.message));
  }
}

function toEra(message: JSONRPCMessage): "modern" | "older" | undefined {
  if (!isJSONRPCRequest(message)) return undefined;
  const isModern = message.params?.["_meta"]?.[PROTOCOL_VERSION_META_KEY] !== undefined;
  if (isModern) return message.method === "server/discover" ? undefined : "modern";
  return "older";
}

const toId = (id: unknown): RequestId => (typeof id === "string" || typeof id === "number" ? id : "");

import type { ServerResponse } from "node:http";
import {
  type AuthInfo,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  type Transport,
} from "@modelcontextprotocol/server";

/** One client of HTTP+SSE (2024-11-05, transports): it listens on a stream and posts elsewhere. */
export interface SseTransport extends Transport {
  /** Hands in what was posted; false where it is no message. */
  receive(message: unknown, authInfo: AuthInfo): boolean;
  /** Resolves when the stream has ended. */
  readonly closed: Promise<void>;
}

/** Opens the stream on a response and tells the client where to post. */
export function openSseTransport(response: ServerResponse, endpoint: string): SseTransport {
  const closed = Promise.withResolvers<void>();
  response.once("close", () => {
    transport.onclose?.();
    closed.resolve();
  });
  const write = (event: string, data: string): void => void response.write(`event: ${event}\ndata: ${data}\n\n`);
  const transport: SseTransport = {
    closed: closed.promise,
    async start() {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      write("endpoint", endpoint);
    },
    async send(message) {
      if (!response.destroyed) write("message", JSON.stringify(message));
    },
    async close() {
      response.end();
    },
    receive(message, authInfo) {
      if (!isJSONRPCRequest(message) && !isJSONRPCNotification(message) && !isJSONRPCResponse(message)) return false;
      transport.onmessage?.(message, { authInfo });
      return true;
    },
  };
  return transport;
}

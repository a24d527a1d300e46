import type { ServerResponse } from "node:http";
import type { JSONRPCNotification, JSONRPCResponse, RequestId } from "@modelcontextprotocol/server";

/** Answers with JSON. Nothing here may be kept by a cache between the two. */
export function answerJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    ...headers,
  });
  response.end(text);
}

/** Answers with a JSON-RPC error; `id` is null where it could not be read (JSON-RPC 2.0, section 5). */
export function answerError(
  response: ServerResponse,
  status: number,
  error: { readonly code: number; readonly message: string; readonly data?: unknown },
  options: { readonly id?: RequestId | null; readonly headers?: Readonly<Record<string, string>> } = {},
): void {
  answerJson(response, status, { jsonrpc: "2.0", id: options.id ?? null, error }, options.headers);
}

/** One answer that becomes an event stream when something must be told before it. */
export interface Answer {
  /** False until something was told: then only the body can say how it ended. */
  isStreaming(): boolean;
  tell(notification: JSONRPCNotification): void;
  end(message: JSONRPCResponse, status: number): void;
}

/** Opens the answer to one POST (2026-07-28, transports/streamable-http, Sending Messages). */
export function openAnswer(response: ServerResponse): Answer {
  let streaming = false;
  const write = (message: object): void => void response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
  return {
    isStreaming: () => streaming,
    tell(notification) {
      if (response.destroyed || response.writableEnded) return;
      if (!streaming) {
        streaming = true;
        response.writeHead(200, {
          "content-type": "text/event-stream",
          "cache-control": "no-store",
          "x-accel-buffering": "no",
        });
      }
      write(notification);
    },
    end(message, status) {
      if (response.destroyed || response.writableEnded) return;
      if (!streaming) return answerJson(response, status, message);
      write(message);
      response.end();
    },
  };
}

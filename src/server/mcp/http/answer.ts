import type { ServerResponse } from "node:http";
import type { JSONRPCMessage, JSONRPCResponse, RequestId } from "@modelcontextprotocol/server";
import { beginStream, writeEvent } from "./stream.ts";

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
  /** A notification, or, to older clients, a question. */
  tell(message: JSONRPCMessage): void;
  end(message: JSONRPCResponse, status: number): void;
  /** Ends without an answer: the request was cancelled. */
  leave(): void;
}

/** Opens the answer to one POST (2026-07-28, transports/streamable-http, Sending Messages). */
export function openAnswer(
  response: ServerResponse,
  onFault: (fault: unknown) => void,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  let streaming = false;
  const isOver = (): boolean => response.destroyed || response.writableEnded;
  const begin = (): void => {
    if (!streaming) beginStream(response, headers);
    streaming = true;
  };
  const write = (message: object): void => writeEvent(response, "message", JSON.stringify(message), onFault);
  return {
    isStreaming: () => streaming,
    tell(message) {
      if (isOver()) return;
      begin();
      write(message);
    },
    end(message, status) {
      if (isOver()) return;
      if (!streaming) return answerJson(response, status, message, headers);
      write(message);
      response.end();
    },
    leave() {
      if (isOver()) return;
      begin();
      response.end();
    },
  };
}

import type { ServerResponse } from "node:http";
import { CapstanError } from "../../../core/error.ts";

/** What a client has not read yet is kept for it up to this many bytes: room for the largest answer, twice. */
const maxUnreadBytes = 8 * 1024 * 1024;

/** Begins an event stream on a response. Nothing between us and the client may keep or delay it. */
export function beginStream(response: ServerResponse, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    ...headers,
  });
}

/**
 * Writes one event. To a client that is gone nothing is written. One that does not read is left: its stream is cut off, and `onFault`
 * gets `mcp.slow_client`.
 */
export function writeEvent(
  response: ServerResponse,
  event: "message" | "endpoint",
  data: string,
  onFault: (fault: unknown) => void,
): void {
  if (response.destroyed || response.writableEnded) return;
  response.write(`event: ${event}\ndata: ${data}\n\n`);
  if (response.writableLength <= maxUnreadBytes) return;
  onFault(
    new CapstanError(
      "mcp.slow_client",
      `A client left ${response.writableLength} bytes of its event stream unread, and ${maxUnreadBytes} are kept. Its stream was cut off.`,
    ),
  );
  response.destroy();
}

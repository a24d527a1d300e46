import {
  type FetchLike,
  SdkHttpError,
  SSEClientTransport,
  StreamableHTTPClientTransport,
} from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { isJsonObject } from "../../../core/json.ts";
import type { Link, LinkEvents, Outgoing, SendOptions } from "./link.ts";
import { broken, gone } from "./peer.ts";
import { within } from "./wait.ts";
import { showText } from "./text.ts";
import { refusalIn } from "../guarded-fetch.ts";

/** A stream that broke is opened again where it left off; a server that is gone for longer than this is connected to anew. */
const reconnectionOptions = {
  initialReconnectionDelay: 250,
  maxReconnectionDelay: 4_000,
  reconnectionDelayGrowFactor: 2,
  maxRetries: 5,
};
/** How long the end of a session may take to be told. */
const terminateMs = 1_000;
/** Failures of a connection that was never made: nothing was sent. */
const unreached = new Set(["ECONNREFUSED", "ENOTFOUND", "EHOSTUNREACH", "ENETUNREACH", "EAI_AGAIN"]);

interface HttpServices {
  readonly name: string;
  readonly url: string;
  readonly fetch: FetchLike;
  readonly log: (line: string) => void;
}

/**
 * Streamable HTTP, both eras. Each request goes through a transport of its own that shares the session: so what a server sends on the
 * stream of a request is known to belong to it, its resumption is its own, and to close it cancels that request alone.
 */
export function openHttpLink(services: HttpServices, events: LinkEvents): Link {
  const { name, url, fetch, log } = services;
  const common = new StreamableHTTPClientTransport(new URL(url), { fetch, reconnectionOptions });
  common.onmessage = (message) => events.onMessage(message);
  common.onerror = (error) => {
    // Of the stream that older servers push on. What fails in `send` is told there too, and an end twice is one.
    if (isSessionLost(error, common.sessionId)) events.onClose("no longer knows the session");
    else if (unreached.has(codeOf(error))) closeSoon(error);
    else if (/maximum reconnection attempts/i.test(error.message)) events.onClose("no longer keeps its stream open");
    else if (!(error instanceof SdkHttpError)) log(showText(error.message));
  };
  const started = common.start();
  /** After the rejection of what failed, which says more. */
  const closeSoon = (thrown: unknown): void =>
    void setImmediate(() => events.onClose(`can't be reached (${codeOf(thrown)})`));

  async function sendRequest(
    message: Outgoing & { readonly id: number; readonly method: string },
    options: SendOptions,
  ): Promise<void> {
    const { sessionId, protocolVersion } = common;
    const own = new StreamableHTTPClientTransport(new URL(url), {
      fetch,
      reconnectionOptions,
      ...(sessionId === undefined ? {} : { sessionId }),
      ...(protocolVersion === undefined ? {} : { protocolVersion }),
    });
    own.onmessage = (answer) => events.onMessage(answer, message.id);
    // Told by the rejection of `send`, or by the end of the stream.
    own.onerror = () => {};
    const { signal, headers, onEnd } = options;
    signal.addEventListener("abort", () => void own.close().catch(() => {}), { once: true });
    await own.start();
    await own.send(message, { requestSignal: signal, headers, onRequestStreamEnd: onEnd });
  }

  return {
    hasOwnStreams: true,
    async send(message, options) {
      await started;
      const isOwn = "method" in message && "id" in message && message.method !== "initialize";
      const { sessionId } = common;
      try {
        if (isOwn && options !== undefined) await sendRequest(message, options);
        else await common.send(message, options === undefined ? {} : { requestSignal: options.signal });
      } catch (thrown) {
        const refusal = toRpcError(thrown);
        if (isOwn && refusal !== undefined && !isSessionLost(thrown, sessionId)) {
          return events.onMessage({ jsonrpc: "2.0", id: message.id, error: refusal }, message.id);
        }
        if (unreached.has(codeOf(thrown))) closeSoon(thrown);
        throw toSendError(name, thrown, isSessionLost(thrown, sessionId));
      }
    },
    setVersion: (version) => common.setProtocolVersion(version),
    async [Symbol.asyncDispose]() {
      const late = new Promise<void>((resolve) => setTimeout(resolve, terminateMs).unref());
      common.onerror = () => {};
      await Promise.race([common.terminateSession().catch(() => {}), late]);
      await common.close().catch(() => {});
    },
  };
}

/** HTTP+SSE of 2024-11-05: one stream for everything the server says, and a URL for what is said to it. */
export async function openSseLink(services: HttpServices, events: LinkEvents, signal: AbortSignal): Promise<Link> {
  const { name, url, fetch } = services;
  const transport = new SSEClientTransport(new URL(url), { fetch });
  transport.onmessage = (message) => events.onMessage(message);
  try {
    await within(transport.start(), signal);
  } catch (thrown) {
    await transport.close().catch(() => {});
    signal.throwIfAborted();
    throw toSendError(name, thrown, false);
  }
  transport.onerror = (error) => {
    // The stream is the connection: a new one would be another session, so it is not opened behind our back.
    if (!error.message.startsWith("Error POSTing"))
      events.onClose(`broke off its stream (${showText(error.message, 80)})`);
  };
  return {
    hasOwnStreams: false,
    async send(message) {
      try {
        await transport.send(message);
      } catch (thrown) {
        throw toSendError(name, thrown, false);
      }
    },
    setVersion: (version) => transport.setProtocolVersion(version),
    async [Symbol.asyncDispose]() {
      transport.onerror = () => {};
      await transport.close().catch(() => {});
    },
  };
}

/** A server that knows no such session answers 404 before it looks at the message (2025-11-25, Session Management). */
function isSessionLost(thrown: unknown, sessionId: string | undefined): boolean {
  return sessionId !== undefined && thrown instanceof SdkHttpError && thrown.status === 404;
}

/** The error of JSON-RPC that a refusal holds, where the status says no more (2026-07-28, streamable HTTP, Server Validation). */
function toRpcError(thrown: unknown): unknown {
  const text = thrown instanceof SdkHttpError && [400, 404].includes(thrown.status) ? thrown.data["text"] : undefined;
  if (typeof text !== "string") return undefined;
  try {
    const body: unknown = JSON.parse(text);
    return isJsonObject(body) && isJsonObject(body["error"]) ? body["error"] : undefined;
  } catch {
    return undefined;
  }
}

function toSendError(name: string, thrown: unknown, isLost: boolean): CapstanError {
  if (thrown instanceof CapstanError) return thrown;
  const refusal = refusalIn(thrown);
  if (refusal !== undefined) return refusal;
  if (thrown instanceof SdkHttpError) return toStatusError(name, thrown, isLost);
  const code = codeOf(thrown);
  if (unreached.has(code)) {
    const what = `can't be reached (${code})`;
    const text = `The MCP server ${name} ${what}. Nothing was asked of it. Look whether it runs and whether mcp.servers.${name}.url is right.`;
    return new CapstanError("mcp.server_gone", text, { details: { server: name, what } });
  }
  return gone(name, `broke off (${showText(thrown instanceof Error ? thrown.message : "no reason is known", 160)})`);
}

function toStatusError(name: string, error: SdkHttpError, isLost: boolean): CapstanError {
  const { status } = error;
  const details = {
    server: name,
    ...(Number.isInteger(status) ? { status } : {}),
    ...(isLost ? { session: "lost" } : {}),
  };
  const said = showText(error.message, 200);
  if (status === 401) {
    const text = `The MCP server ${name} wants a sign-in. Sign in: capstan mcp login ${name}, or correct the token that mcp.servers.${name} names.`;
    return new CapstanError("mcp.sign_in_needed", text, { details });
  }
  if (status === 403 || (status >= 400 && status < 500)) {
    return new CapstanError(
      "mcp.server_error",
      `The MCP server ${name} refused the request (HTTP ${status}): ${said}`,
      { details },
    );
  }
  if (status >= 500) {
    const text = `The MCP server ${name} failed (HTTP ${status}). What was asked of it may have been carried out. Try again later.`;
    return new CapstanError("mcp.server_gone", text, { details: { ...details, what: `failed (HTTP ${status})` } });
  }
  return broken(name, `answered over HTTP what is no MCP: ${said}`);
}

/** The code of the system behind a failure of `fetch`. */
function codeOf(thrown: unknown): string {
  for (let at = thrown; at instanceof Error; at = at.cause) {
    if ("code" in at && typeof at.code === "string" && /^E[A-Z_]+$/.test(at.code)) return at.code;
  }
  return "";
}

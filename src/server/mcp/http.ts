import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import { isJSONRPCNotification } from "@modelcontextprotocol/server";
import { CapstanError } from "../../core/error.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { Store } from "../../store/store.ts";
import type { Door } from "../../tools/call.ts";
import { openDispatch } from "./dispatch.ts";
import { openGrants, type ProcessGrant } from "./grants.ts";
import { answerError, answerJson } from "./http-answer.ts";
import { isGood, readBearer, toBearerGrants, toChallenge } from "./http-bearer.ts";
import { readBody } from "./http-body.ts";
import { openGuard } from "./http-guard.ts";
import { answerModern, isModern } from "./http-modern.ts";
import { openRefusals } from "./refusal.ts";

export interface HttpServices extends ProcessGrant {
  readonly door: Door;
  readonly permissions: Permissions;
  readonly store: Store;
  readonly version: string;
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** Names and web pages beyond its own by which it is reached. */
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
  /** The address that clients know it by, where a proxy stands in front. */
  readonly publicUrl?: string;
  readonly onFault: (fault: unknown) => void;
  /** Ends serving: nothing new is accepted, what runs may end within `drainMs`, then it is cancelled. */
  readonly signal: AbortSignal;
}

/** A server that listens. */
export interface HttpServing {
  /** `http://127.0.0.1:PORT`, without a path. */
  readonly url: string;
  /** Resolves when nothing is served and nothing runs any more. */
  readonly closed: Promise<void>;
}

const drainMs = 5_000;
const metadataPath = "/.well-known/oauth-protected-resource";

/**
 * Serves MCP 2026-07-28 at `/mcp` (transports/streamable-http). Every request presents a token as a bearer; nothing turns that off. Throws
 * `usage.bad_option` where the address can't be listened on.
 */
export async function serveHttp(services: HttpServices): Promise<HttpServing> {
  const { permissions, store, grant, host, hosts, origins, version, door, onFault, signal } = services;
  const recordRefusal = openRefusals({ store, now: () => permissions.now(), owner: grant });
  const grantFor = openGrants(permissions, services, recordRefusal);
  const running = new Set<Promise<void>>();
  const server = createServer((request, response) => {
    const answering = answer(request, response).catch((fault: unknown) => {
      onFault(fault);
      if (!response.headersSent) answerError(response, 500, { code: -32_603, message: "Internal error" });
      else response.destroy();
    });
    running.add(answering);
    void answering.finally(() => running.delete(answering));
  });
  const port = await listen(server, host, services.port);
  const guard = openGuard({ host, port, hosts, origins });
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const publicUrl = (services.publicUrl ?? url).replace(/\/$/, "");
  const metadataUrl = `${publicUrl}${metadataPath}/mcp`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const misplaced = guard.check(request);
    if (misplaced !== null) return answerError(response, 403, { code: -32_600, message: misplaced });
    const path = (request.url ?? "/").split("?", 1)[0];
    if (path === metadataPath || path === `${metadataPath}/mcp`)
      return answerJson(response, 200, toMetadata(publicUrl));
    const bearer = readBearer(request);
    if (bearer === null || !(await isGood(permissions, bearer))) return await refuse(response, bearer !== null);
    if (path !== "/mcp") return answerError(response, 404, { code: -32_600, message: "MCP is served at /mcp." });
    if (request.method !== "POST") {
      const headers = { allow: "POST" };
      return answerError(response, 405, { code: -32_600, message: "Send each message by POST." }, { headers });
    }
    const body = await readBody(request);
    if ("status" in body) {
      const headers = { connection: "close" };
      return answerError(response, body.status, body, { headers });
    }
    if (isJSONRPCNotification(body.value)) return void response.writeHead(202).end();
    if (!isModern(body.value)) {
      const message = "Send one request of MCP 2026-07-28: its params._meta names the revision.";
      return answerError(response, 400, { code: -32_022, message, data: { supported: ["2026-07-28"] } });
    }
    const own = toBearerGrants(grantFor, permissions, bearer);
    const dispatch = openDispatch({ door, permissions, version, grantFor: own, recordRefusal });
    await answerModern(body.value, request, response, {
      dispatch,
      challenge: toChallenge(metadataUrl, "insufficient_scope"),
      ending: signal,
    });
    await dispatch.settled();
  }

  async function refuse(response: ServerResponse, presented: boolean): Promise<void> {
    await recordRefusal({ action: "http", name: "", code: presented ? "token.bad_signature" : "token.malformed" });
    const headers = { "www-authenticate": toChallenge(metadataUrl, presented ? "invalid_token" : undefined) };
    const message = presented
      ? "The token is not good here, or not any more. Ask its issuer for a new one."
      : "Send a token: Authorization: Bearer TOKEN. `capstan grant create` makes one.";
    answerError(response, 401, { code: -32_600, message }, { headers });
  }

  return { url, closed: close() };

  async function close(): Promise<void> {
    if (!signal.aborted) await once(signal, "abort");
    server.close();
    server.closeIdleConnections();
    const cut = setTimeout(() => server.closeAllConnections(), drainMs);
    await Promise.allSettled(running);
    clearTimeout(cut);
    server.closeAllConnections();
  }
}

/** RFC 9728, section 2. There is no authorization server: the operator hands tokens out. */
function toMetadata(publicUrl: string): object {
  return { resource: `${publicUrl}/mcp`, bearer_methods_supported: ["header"], resource_name: "Capstan" };
}

async function listen(server: ReturnType<typeof createServer>, host: string, port: number): Promise<number> {
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    const why = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
    throw new CapstanError(
      "usage.bad_option",
      `Can't listen on ${host}:${port} (${why}). Name another address: --http [HOST:]PORT.`,
      { cause },
    );
  }
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { isJSONRPCRequest, type JSONRPCRequest } from "@modelcontextprotocol/server";
import { CapstanError, type ErrorCode, toCapstanError, toText } from "../../../core/error.ts";
import { isJsonObject } from "../../../core/json.ts";
import type { Logger } from "../../../host/telemetry/logger.ts";
import { observeDoor } from "../../../host/telemetry/observe-door.ts";
import type { Permissions } from "../../../permissions/permissions.ts";
import type { Store } from "../../../store/store.ts";
import type { Door } from "../../../tools/call.ts";
import { openDispatch } from "../dispatch.ts";
import { grantKey, openGrants, type ProcessGrant } from "../grants.ts";
import { answerError, answerJson } from "./answer.ts";
import { readBearer, toBearerGrants, toChallenge, verifyBearer } from "./bearer.ts";
import { readBody } from "./body.ts";
import { answerPage } from "./cors.ts";
import { openGuard } from "./guard.ts";
import { answerModern, beyondGrant, isModern } from "./modern.ts";
import { openRoom, ownerOf } from "./room.ts";
import { type OlderRequest, openSessions } from "./sessions.ts";
import { openStreams } from "./streams.ts";
import { type Offering, toMeant } from "../offering.ts";
import { openNotices } from "../notices.ts";
import { openQuestions } from "../questions.ts";
import { openRefusals } from "../refusal.ts";
import { openTasks } from "../tasks/tasks.ts";

export interface HttpServices extends ProcessGrant {
  readonly door: Door;
  readonly permissions: Permissions;
  readonly store: Store;
  readonly version: string;
  readonly offering?: Offering | undefined;
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** Names and web pages beyond its own by which it is reached. */
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
  /** The address that clients know it by, where a proxy stands in front. */
  readonly publicUrl?: string;
  readonly onFault: (fault: unknown) => void;
  /** The log of the process; missing: it is off. */
  readonly logger?: Logger | undefined;
  /** Ends serving: nothing new is accepted, what runs may end within `drainMs`, then it is cancelled. */
  readonly signal: AbortSignal;
}

/** A server that listens. */
export interface HttpServing {
  /** `http://127.0.0.1:PORT`, without a path. */
  readonly url: string;
  /** Resolves when nothing is served and nothing runs any more. */
  readonly closed: Promise<void>;
  /** What is open now, for whoever looks for leaks. */
  readonly counts: () => { readonly sessions: number; readonly streams: number; readonly requests: number };
}

const drainMs = 5_000;
const metadataPath = "/.well-known/oauth-protected-resource";

/**
 * Serves MCP over HTTP: revision 2026-07-28 and sessions of older ones at `/mcp`, HTTP+SSE of 2024-11-05 at `/sse`. Every request presents a token as a bearer; nothing turns that off. Throws
 * `usage.bad_option` where the address can't be listened on.
 */
export async function serveHttp(services: HttpServices): Promise<HttpServing> {
  const { permissions, store, host, hosts, origins, version, offering, onFault, signal, logger } = services;
  const now = (): number => permissions.now();
  const door = observeDoor(services.door, logger, now);
  const recordRefusal = openRefusals({ store, now, owner: services.grant, logger });
  const grantFor = openGrants(permissions, services, recordRefusal);
  const own = toBearerGrants(grantFor, permissions);
  const notices = openNotices(services);
  const tasks = openTasks({ door, permissions, store, offering, own: services.grant, onFault });
  const questions = openQuestions(permissions);
  const shared = { door, permissions, version, offering, grantFor: own, recordRefusal, notices, tasks, questions };
  const openOwn = () => openDispatch(shared);
  const room = openRoom();
  const streams = openStreams(permissions, services.isExplicit ? services.grant : null, () => sessions.sweep());
  const sessions = openSessions({ toDispatch: openOwn, now, room, streams, onFault, logger });
  const running = new Set<Promise<void>>();
  const posts = new Set<ServerResponse>();
  let refusedAt = -Infinity;
  const server = createServer((request, response) => {
    if (signal.aborted)
      return answerError(response, 503, { code: -32_600, message: "The server is stopping." }, closing);
    if (request.method === "POST") posts.add(response.once("close", () => posts.delete(response)));
    const answering = answer(request, response).catch((fault: unknown) => {
      // A client that goes away while it sends is no fault.
      if (request.errored === null) onFault(fault);
      if (!response.headersSent) answerError(response, 500, { code: -32_603, message: "Internal error" });
      else response.destroy();
    });
    running.add(answering);
    void answering.finally(() => running.delete(answering));
  });
  // Longer than the proxies before us: whoever closes first must be the one who sends.
  server.keepAliveTimeout = 75_000;
  const port = await listen(server, host, services.port);
  const guard = openGuard({ host, port, hosts, origins });
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const publicUrl = (services.publicUrl ?? url).replace(/\/$/, "");
  const metadataUrl = `${publicUrl}${metadataPath}/mcp`;
  const challenge = toChallenge(metadataUrl, "insufficient_scope");

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const misplaced = guard.check(request);
    if (misplaced !== null) return answerError(response, 403, { code: -32_600, message: misplaced });
    if (answerPage(request, response)) return;
    const path = (request.url ?? "/").split("?", 1)[0];
    if (path === metadataPath || path === `${metadataPath}/mcp`)
      return answerJson(response, 200, toMetadata(publicUrl));
    const bearer = readBearer(request);
    const grant = await verifyBearer(permissions, bearer);
    if (typeof grant === "string") return await refuse(response, grant);
    if (bearer === null) return await refuse(response, "token.malformed");
    const came = { request, response, bearer, grant, body: undefined };
    switch (`${request.method} ${path}`) {
      case "POST /mcp":
        return await withBody(request, response, (body) => answerMcp({ ...came, body }));
      case "POST /messages":
        return await withBody(request, response, (body) =>
          answerOlder({ ...came, body }, async (older) => sessions.postSse(older, toSessionId(request))),
        );
      case "GET /sse":
        return await sessions.openSse(came);
      case "GET /mcp":
      case "DELETE /mcp":
        if (request.headers["mcp-session-id"] !== undefined) return await sessions.mcp(came);
        return answerError(response, 405, { code: -32_600, message: "Send each message by POST." }, onlyPost);
      default:
        return answerError(response, 404, { code: -32_600, message: "MCP is served at /mcp, and at /sse as of 2024." });
    }
  }

  async function answerMcp(came: OlderRequest): Promise<void> {
    const { request, response, bearer, grant, body } = came;
    if (!isModern(body, request.headers)) return await answerOlder(came, (older) => sessions.mcp(older));
    const dispatch = openOwn();
    const hold = (end: () => void): boolean => {
      const leave = room.enter(ownerOf(grant));
      if (leave === null) return false;
      response.once("close", leave);
      streams.hold(response, grant, end);
      return true;
    };
    await answerModern(body, request, response, { dispatch, bearer, challenge, hold, onFault });
  }

  /** What is beyond the grant is answered 403, also where the answer itself would come on the session's stream. */
  async function answerOlder(came: OlderRequest, answerIt: (older: OlderRequest) => Promise<void>): Promise<void> {
    const call = isJSONRPCRequest(came.body) && came.body.method === "tools/call" ? came.body : undefined;
    const refusal = call === undefined ? null : await findBeyond(call, came.bearer);
    if (call === undefined || refusal === null) return await answerIt(came);
    const error = { code: -32_602, message: toText(refusal), data: { code: refusal.code } };
    const headers = { "www-authenticate": challenge };
    answerError(came.response, 403, error, { id: call.id, headers });
  }

  async function findBeyond({ params }: JSONRPCRequest, bearer: string): Promise<CapstanError | null> {
    const given = params?.["arguments"];
    const named = { name: String(params?.["name"]), args: isJsonObject(given) ? given : {} };
    const asked = { action: "tools/call", name: named.name };
    try {
      const grant = await own(params?.["_meta"]?.[grantKey], asked, bearer);
      const { principal, scope } = grant;
      const { name, args } = toMeant(named, grant, services);
      door.check({ principal, scope, grant, taint: [], depth: 0 }, name, args);
      return null;
    } catch (thrown) {
      const refusal = toCapstanError(thrown);
      if (!beyondGrant.has(refusal.code)) return null;
      await recordRefusal({ ...asked, code: refusal.code });
      return refusal;
    }
  }

  /** On record once a second at most: whoever has no token must not fill the disk. */
  async function refuse(response: ServerResponse, code: ErrorCode): Promise<void> {
    if (permissions.now() >= refusedAt + 1_000) {
      refusedAt = permissions.now();
      await recordRefusal({ action: "http", name: "", code });
    }
    const isMissing = code === "token.malformed";
    const headers = { "www-authenticate": toChallenge(metadataUrl, isMissing ? undefined : "invalid_token") };
    const message = isMissing
      ? "Send a token: Authorization: Bearer TOKEN. `capstan grant create` makes one."
      : "The token is not good here, or not any more. Ask its issuer for a new one.";
    answerError(response, 401, { code: -32_600, message }, { headers });
  }

  const counts = () => ({ sessions: sessions.size, streams: streams.size, requests: running.size });
  return { url, closed: close(), counts };

  async function close(): Promise<void> {
    if (!signal.aborted) await once(signal, "abort");
    server.close();
    server.closeIdleConnections();
    streams.close();
    const answered = Promise.all([...posts].map((response) => once(response, "close")));
    await Promise.race([Promise.all([answered, sessions.settled()]), sleep(drainMs, undefined, { ref: false })]);
    await nextTurn(); // What was answered last is written by now.
    await sessions.close();
    server.closeAllConnections();
    await tasks.end();
    await Promise.allSettled(running);
  }
}

const closing = { headers: { connection: "close" } };
const onlyPost = { headers: { allow: "POST" } };

/** Where an older client posts for its stream. */
const toSessionId = ({ url = "" }: IncomingMessage): string =>
  new URL(url, "http://localhost").searchParams.get("sessionId") ?? "";

/** Reads the body first; one that is no good is answered, and the connection that it came on is closed. */
async function withBody(
  request: IncomingMessage,
  response: ServerResponse,
  then: (body: unknown) => Promise<void>,
): Promise<void> {
  const body = await readBody(request);
  if ("value" in body) return await then(body.value);
  const { status, ...error } = body;
  answerError(response, status, error, { headers: { connection: "close" } });
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

import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { NodeStreamableHTTPServerTransport } from "@modelcontextprotocol/node";
import { isInitializeRequest, isJSONRPCRequest, type Transport } from "@modelcontextprotocol/server";
import type { Grant } from "../../permissions/grant.ts";
import type { Dispatch } from "./dispatch.ts";
import { answerError } from "./http-answer.ts";
import { openSseTransport, type SseTransport } from "./sse.ts";

/** More sessions than these at a time are refused. */
const maxSessions = 1_000;
/** A session that nobody uses ends. */
const idleMs = 30 * 60 * 1000;
const sweepMs = 60 * 1000;

/** One request of an older client: its token, the grant of that token, and its body where it has one. */
export interface OlderRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly bearer: string;
  readonly grant: Grant;
  /** Parsed; undefined for GET and DELETE. */
  readonly body: unknown;
}

/** Clients of 2025-11-25 and older: sessions at `/mcp`, and HTTP+SSE of 2024-11-05 at `/sse`. */
export interface Sessions {
  /** A request at `/mcp` that is not modern. */
  mcp(older: OlderRequest): Promise<void>;
  /** GET `/sse`: opens a session whose answers come on this stream. */
  openSse(older: OlderRequest): Promise<void>;
  /** POST `/messages?sessionId=…`. */
  postSse(older: OlderRequest, sessionId: string): Promise<void>;
  /** Resolves when no call of theirs runs any more. */
  settled(): Promise<void>;
  /** Ends all of them; what still runs is cancelled. */
  close(): Promise<void>;
}

interface Session {
  readonly dispatch: Dispatch;
  readonly owner: string;
  readonly transport: Transport;
  usedAt: number;
}

/**
 * Opens the sessions of a server. A session belongs to the user who opened it: under a token of anybody else it does not exist. Each
 * message acts under the token that came with it. The SDK server of a session is never shared.
 */
export function openSessions(toDispatch: () => Dispatch, now: () => number): Sessions {
  const sessions = new Map<string, Session>();
  const streams = new Map<string, NodeStreamableHTTPServerTransport>();
  const sse = new Map<string, SseTransport>();

  async function begin(id: string, transport: Transport, grant: Grant): Promise<void> {
    const dispatch = toDispatch();
    const server = dispatch.toServer();
    server.onclose = () => void end(id);
    await server.connect(transport);
    sessions.set(id, { dispatch, owner: ownerOf(grant), transport, usedAt: now() });
  }

  async function end(id: string): Promise<void> {
    const session = sessions.get(id);
    sessions.delete(id);
    streams.delete(id);
    sse.delete(id);
    await session?.transport.close();
    await session?.dispatch.settled();
  }

  /** Whether the session exists for this caller. */
  function isOwn(id: string, grant: Grant): boolean {
    const session = sessions.get(id);
    if (session?.owner !== ownerOf(grant)) return false;
    session.usedAt = now();
    return true;
  }

  const sweeping = setInterval(() => {
    for (const [id, { usedAt }] of sessions) if (usedAt < now() - idleMs) void end(id);
  }, sweepMs).unref();

  function hasRoom(response: ServerResponse): boolean {
    if (sessions.size < maxSessions) return true;
    answerError(response, 503, { code: -32_600, message: `Already ${maxSessions} sessions. Try again later.` });
    return false;
  }

  return {
    async mcp({ request, response, bearer, grant, body }) {
      const header = request.headers["mcp-session-id"];
      const withToken = Object.assign(request, { auth: { token: bearer, clientId: grant.id, scopes: [] } });
      if (typeof header === "string") {
        const known = streams.get(header);
        if (known === undefined || !isOwn(header, grant)) return unknownSession(response);
        return await known.handleRequest(withToken, response, body);
      }
      if (!isJSONRPCRequest(body) || !isInitializeRequest(body)) {
        const message = "Begin with initialize, or name the revision 2026-07-28 in params._meta of each request.";
        return answerError(response, 400, { code: -32_600, message });
      }
      if (!hasRoom(response)) return;
      const id = randomUUID();
      const transport = new NodeStreamableHTTPServerTransport({ sessionIdGenerator: () => id });
      await begin(id, transport, grant);
      streams.set(id, transport);
      await transport.handleRequest(withToken, response, body);
    },

    async openSse({ response, grant }) {
      if (!hasRoom(response)) return;
      const id = randomUUID();
      const transport = openSseTransport(response, `/messages?sessionId=${id}`);
      sse.set(id, transport);
      await begin(id, transport, grant);
      await transport.closed;
      await end(id);
    },

    async postSse({ response, bearer, grant, body }, id) {
      const transport = sse.get(id);
      if (transport === undefined || !isOwn(id, grant)) return unknownSession(response);
      if (!transport.receive(body, { token: bearer, clientId: grant.id, scopes: [] })) {
        return answerError(response, 400, { code: -32_600, message: "The body is no JSON-RPC 2.0 message of MCP." });
      }
      response.writeHead(202).end("Accepted");
    },

    async settled() {
      await Promise.all([...sessions.values()].map(({ dispatch }) => dispatch.settled()));
    },

    async close() {
      clearInterval(sweeping);
      await Promise.all([...sessions.keys()].map(end));
    },
  };
}

const ownerOf = ({ principal, scope }: Grant): string =>
  JSON.stringify([principal.org, principal.user, scope.org, scope.project]);

/** The one answer for a session that never was, that has ended, and that is somebody else's. */
function unknownSession(response: ServerResponse): void {
  answerError(response, 404, { code: -32_001, message: "There is no such session. Begin again with initialize." });
}

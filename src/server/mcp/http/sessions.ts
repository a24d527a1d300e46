import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  isInitializeRequest,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  type JSONRPCMessage,
  SUPPORTED_PROTOCOL_VERSIONS,
} from "@modelcontextprotocol/server";
import type { Logger } from "../../../host/telemetry/logger.ts";
import type { Grant } from "../../../permissions/grant.ts";
import { logConnection } from "../connection-log.ts";
import type { Dispatch } from "../dispatch.ts";
import { answerError, openAnswer } from "./answer.ts";
import { noRoom, ownerOf, type Room } from "./room.ts";
import { expectedParams, readId } from "../message.ts";
import { noMessage, type Older, type Sender } from "../older.ts";
import { beginStream, writeEvent } from "./stream.ts";
import type { Streams } from "./streams.ts";

/** A session that nobody uses ends. */
const idleMs = 30 * 60 * 1000;
/** How many different notices wait for a session that listens nowhere; who never listens must cost little. */
const maxMissed = 256;

/** One request of an older client: its token, the grant of that token, and its body where it has one. */
export interface OlderRequest extends Required<Sender> {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Parsed; undefined for GET and DELETE. */
  readonly body: unknown;
}

/** Clients of 2025-11-25 and older: sessions at `/mcp`, and HTTP+SSE of 2024-11-05 at `/sse`. */
export interface Sessions {
  readonly size: number;
  /** A request at `/mcp` that is not modern. */
  mcp(older: OlderRequest): Promise<void>;
  /** GET `/sse`: opens a session whose answers come on this stream. */
  openSse(older: OlderRequest): Promise<void>;
  /** POST `/messages?sessionId=…`. */
  postSse(older: OlderRequest, sessionId: string): void;
  /** Ends those that nobody has used for half an hour. */
  sweep(): void;
  /** Resolves when no call of theirs runs any more. */
  settled(): Promise<void>;
  /** Ends all of them; what still runs is cancelled. */
  close(): Promise<void>;
}

interface Session {
  readonly id: string;
  readonly kind: "mcp" | "sse";
  readonly owner: string;
  readonly dispatch: Dispatch;
  readonly older: Older;
  /** Gives its place back. */
  readonly leave: () => void;
  /** Tells of its end. */
  readonly logged: Disposable;
  /** Where it listens; null: nowhere. */
  listening: ServerResponse | null;
  /** Notices, as they are written, that came while it listened nowhere. */
  readonly missed: Set<string>;
  usedAt: number;
}

interface SessionsServices {
  readonly toDispatch: () => Dispatch;
  readonly now: () => number;
  readonly room: Room;
  readonly streams: Streams;
  readonly onFault: (fault: unknown) => void;
  readonly logger?: Logger | undefined;
}

/**
 * Opens the sessions of a server. A session belongs to the user who opened it: under a token of anybody else it does not exist. Each
 * message acts under the token that came with it; a stream lives as long as the grant that opened it. The connection of a session
 * is never shared.
 */
export function openSessions({ toDispatch, now, room, streams, onFault, logger }: SessionsServices): Sessions {
  const sessions = new Map<string, Session>();

  async function begin(kind: Session["kind"], grant: Grant): Promise<Session | null> {
    const owner = ownerOf(grant);
    const leave = room.enter(owner);
    if (leave === null) return null;
    const id = randomUUID();
    const dispatch = toDispatch();
    const older = dispatch.toOlder(grant, async (message) => tell(session, message));
    const session: Session = {
      id,
      kind,
      owner,
      dispatch,
      older,
      leave,
      logged: logConnection({ logger, now }, { transport: kind === "mcp" ? "http" : "sse", grantId: grant.id }),
      listening: null,
      missed: new Set(),
      usedAt: now(),
    };
    sessions.set(id, session);
    return session;
  }

  async function end({ id, older, dispatch, leave, listening, logged }: Session): Promise<void> {
    if (!sessions.delete(id)) return;
    leave();
    logged[Symbol.dispose]();
    listening?.end();
    older.close();
    await dispatch.endSubscriptions();
    await dispatch.settled();
  }

  /** The session, if it exists for this caller. */
  function find(kind: Session["kind"], id: unknown, grant: Grant): Session | undefined {
    const session = typeof id === "string" ? sessions.get(id) : undefined;
    if (session?.kind !== kind || session.owner !== ownerOf(grant) || isOver(session)) return undefined;
    session.usedAt = now();
    return session;
  }

  const isOver = ({ listening, older, usedAt }: Session): boolean =>
    listening === null && !older.isBusy() && usedAt < now() - idleMs;

  function tell({ listening, missed }: Session, message: JSONRPCMessage): void {
    const text = JSON.stringify(message);
    if (listening !== null) writeEvent(listening, "message", text, onFault);
    else if (isJSONRPCNotification(message) && missed.size < maxMissed) missed.add(text);
  }

  /** A session listens in one place: a client that comes back does not wait until its lost stream is noticed. */
  function listen(session: Session, response: ServerResponse, grant: Grant): void {
    session.listening?.end();
    session.listening = response;
    beginStream(response);
    response.flushHeaders();
    streams.hold(response, grant, () => response.end());
    for (const text of session.missed) writeEvent(response, "message", text, onFault);
    session.missed.clear();
    response.once("close", () => {
      if (session.listening === response) session.listening = null;
    });
  }

  function post(session: Session, { response, body, ...sender }: OlderRequest, headers = {}): void {
    const isRequest = isJSONRPCRequest(body);
    const bad = session.older.receive(body, sender, isRequest ? openAnswer(response, onFault, headers) : null);
    if (bad !== null) return answerError(response, 400, bad, { id: isRequest ? body.id : null });
    // Nothing is kept for a client to come back for, so its going cancels the call.
    if (isRequest) response.once("close", () => session.older.abandon(body.id));
    else response.writeHead(202).end();
  }

  return {
    get size() {
      return sessions.size;
    },

    async mcp(older) {
      const { request, response, grant, body } = older;
      const header = request.headers["mcp-session-id"];
      if (header === undefined) {
        if (!isMessage(body)) return answerError(response, 400, noMessage, { id: readId(body) });
        if (!isJSONRPCRequest(body) || !isInitializeRequest(body)) {
          const isMeant = isJSONRPCRequest(body) && body.method === "initialize";
          const message = isMeant
            ? `The params of initialize must be ${expectedParams(body)}.`
            : "Begin with initialize, or name the revision 2026-07-28 in params._meta of each request.";
          return answerError(response, 400, { code: isMeant ? -32_602 : -32_600, message }, { id: readId(body) });
        }
        const session = await begin("mcp", grant);
        if (session === null) return answerError(response, 503, noRoom, { id: body.id });
        return post(session, older, { "mcp-session-id": session.id });
      }
      const session = find("mcp", header, grant);
      if (session === undefined) return unknownSession(response);
      const revision = request.headers["mcp-protocol-version"];
      if (revision !== undefined && !SUPPORTED_PROTOCOL_VERSIONS.includes(String(revision))) {
        const message = `MCP-Protocol-Version must be one of ${SUPPORTED_PROTOCOL_VERSIONS.join(", ")}.`;
        return answerError(response, 400, { code: -32_600, message });
      }
      if (request.method === "GET") return listen(session, response, grant);
      if (request.method === "POST") return post(session, older);
      await end(session);
      response.writeHead(200).end();
    },

    async openSse({ response, grant }) {
      const session = await begin("sse", grant);
      if (session === null) return answerError(response, 503, noRoom);
      listen(session, response, grant);
      writeEvent(response, "endpoint", `/messages?sessionId=${session.id}`, onFault);
      response.once("close", () => void end(session));
    },

    postSse({ response, body, bearer, grant }, id) {
      const session = find("sse", id, grant);
      if (session === undefined) return unknownSession(response);
      const bad = session.older.receive(body, { bearer, grant }, null);
      if (bad !== null) return answerError(response, 400, bad, { id: isJSONRPCRequest(body) ? body.id : null });
      response.writeHead(202).end("Accepted");
    },

    sweep() {
      for (const session of sessions.values()) if (isOver(session)) void end(session);
    },

    async settled() {
      await Promise.all([...sessions.values()].map(({ dispatch }) => dispatch.settled()));
    },

    async close() {
      await Promise.all([...sessions.values()].map(end));
    },
  };
}

const isMessage = (body: unknown): boolean =>
  isJSONRPCRequest(body) || isJSONRPCNotification(body) || isJSONRPCResponse(body);

/** The one answer for a session that never was, that has ended, and that is somebody else's. */
function unknownSession(response: ServerResponse): void {
  answerError(response, 404, { code: -32_001, message: "There is no such session. Begin again with initialize." });
}

import {
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  type JSONRPCMessage,
  type JSONRPCRequest,
  ProtocolErrorCode,
  type RequestId,
  type Transport,
} from "@modelcontextprotocol/server";
import type { Grant } from "../../permissions/grant.ts";
import type { Answer } from "./http-answer.ts";
import { expectedParams } from "./message.ts";

/** Who posted a message: the token that it came with, and what that is good for. */
export interface Sender {
  readonly bearer: string;
  readonly grant: Grant;
}

/** What is wrong with a message that was posted. */
export interface BadMessage {
  readonly code: number;
  readonly message: string;
}

/** The messages of one session over HTTP, of clients of 2025-11-25 and older. */
export interface SessionTransport extends Transport {
  /** Takes what was posted; null where it is taken. A request is answered on `answer`; null: on the session's own stream. */
  receive(message: unknown, sender: Sender, answer: Answer | null): BadMessage | null;
  /** Cancels a request that nobody hears the answer of. */
  abandon(id: RequestId): void;
  /** Whether a request is unanswered. */
  isBusy(): boolean;
}

/**
 * Opens the transport of a session. What belongs to a request goes where that is answered, all else to `stream`. Any token of the
 * session's user may use the session, but an answer to a question, and a cancellation, count only under the grant of the call that they
 * are about, or one that it was derived from: who holds a part of a grant must not speak for the whole.
 */
export function openSessionTransport(stream: (message: JSONRPCMessage) => void): SessionTransport {
  const running = new Map<RequestId, { readonly grant: Grant; readonly answer: Answer | null }>();
  /** The grants of the calls that ask, by the ids of the questions: the SDK reads those as numbers. */
  const asked = new Map<number, Grant>();
  let isClosed = false;

  const transport: SessionTransport = {
    async start() {},

    async send(message, options) {
      const isAnswer = isJSONRPCResponse(message);
      const about = isAnswer ? message.id : options?.relatedRequestId;
      const request = about === undefined ? undefined : running.get(about);
      // It was cancelled, or its client is gone.
      if (about !== undefined && request === undefined) return;
      if (isAnswer) {
        if (about !== undefined) running.delete(about);
        if (request?.answer) return request.answer.end(message, 200);
      } else if (isJSONRPCRequest(message)) {
        if (request !== undefined) asked.set(Number(message.id), request.grant);
      } else if (message.method === "notifications/cancelled") {
        asked.delete(Number(message.params?.["requestId"]));
      }
      if (request?.answer) request.answer.tell(message);
      else stream(message);
    },

    receive(message, { bearer: token, grant }, answer) {
      if (isJSONRPCRequest(message)) {
        const bad = findFault(message);
        if (bad !== null) return bad;
        running.set(message.id, { grant, answer });
      } else if (isJSONRPCResponse(message)) {
        const asker = asked.get(Number(message.id));
        if (asker === undefined || !speaksFor(grant, asker)) return noQuestion;
        asked.delete(Number(message.id));
      } else if (!isJSONRPCNotification(message)) {
        return noMessage;
      } else if (message.method === "notifications/cancelled") {
        const id = toId(message.params?.["requestId"]);
        const request = running.get(id);
        if (request !== undefined && speaksFor(grant, request.grant)) transport.abandon(id);
        return null;
      }
      transport.onmessage?.(message, { authInfo: { token, clientId: grant.id, scopes: [] } });
      return null;
    },

    abandon(id) {
      const request = running.get(id);
      if (!running.delete(id)) return;
      const reason = "Nobody waits for the answer.";
      transport.onmessage?.({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: id, reason } });
      request?.answer?.leave();
    },

    isBusy: () => running.size > 0,

    async close() {
      if (isClosed) return;
      isClosed = true;
      transport.onclose?.();
      const error = { code: ProtocolErrorCode.InternalError, message: "The session has ended." };
      for (const [id, { answer }] of running) answer?.end({ jsonrpc: "2.0", id, error }, 200);
      running.clear();
    },
  };
  return transport;

  function findFault(request: JSONRPCRequest): BadMessage | null {
    const expected = expectedParams(request);
    if (expected !== null) {
      return { code: ProtocolErrorCode.InvalidParams, message: `The params of ${request.method} must be ${expected}.` };
    }
    if (!running.has(request.id)) return null;
    const message = "A request with this id is still unanswered. Use a new id.";
    return { code: ProtocolErrorCode.InvalidRequest, message };
  }
}

/** Whether a grant may say what only the other one's holder can: it is the same, or one that the other was derived from. */
const speaksFor = (grant: Grant, other: Grant): boolean =>
  grant.id === other.id || other.ancestors.some(({ id }) => id === grant.id);

const toId = (id: unknown): RequestId => (typeof id === "string" || typeof id === "number" ? id : "");

const noMessage: BadMessage = {
  code: ProtocolErrorCode.InvalidRequest,
  message: "The body is no JSON-RPC 2.0 message of MCP. Batches are no part of it.",
};
const noQuestion: BadMessage = {
  code: ProtocolErrorCode.InvalidRequest,
  message: "No question of this id waits for an answer under this token.",
};

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import {
  isJSONRPCRequest,
  type JSONRPCNotification,
  type JSONRPCRequest,
  type JSONRPCResponse,
  PROTOCOL_VERSION_META_KEY,
} from "@modelcontextprotocol/server";
import type { ErrorCode } from "../../../core/error.ts";
import type { Dispatch } from "../dispatch.ts";
import { modernRevision } from "../envelope.ts";
import { answerError, openAnswer } from "./answer.ts";
import { demandMirrored, findMismatch, headerMismatch } from "./headers.ts";
import { noRoom } from "./room.ts";
import { envelopeMissing, toEnvelope } from "../modern.ts";

/** Errors that say that the request itself is wrong, before any method has seen it, by their HTTP status. */
const statuses: Readonly<Record<number, number>> = {
  ...{ [-32_601]: 404, [-32_021]: 400, [-32_022]: 400 },
  [headerMismatch]: 400,
};

/** Refusals of what a listed tool was asked to do: another token could. */
export const beyondGrant: ReadonlySet<ErrorCode> = new Set([
  "permission.no_right",
  "permission.argument_refused",
  "permission.argument_not_granted",
]);

/** A request of revision 2026-07-28: its envelope says so, or its header, of which the envelope may have been forgotten. */
export function isModern(message: unknown, headers: IncomingHttpHeaders): message is JSONRPCRequest {
  if (!isJSONRPCRequest(message)) return false;
  const isNamed = message.params?.["_meta"]?.[PROTOCOL_VERSION_META_KEY] !== undefined;
  return isNamed || headers["mcp-protocol-version"] === modernRevision;
}

/** What answering takes beside the request. */
export interface ModernHttp {
  readonly dispatch: Dispatch;
  readonly bearer: string;
  /** What a 403 tells whoever needs a larger grant. */
  readonly challenge: string;
  /** Holds the answer as a stream that stays open, until `end` is called; false where there is no room for one. */
  readonly hold: (end: () => void) => boolean;
  readonly onFault: (fault: unknown) => void;
}

/**
 * Answers one modern request (2026-07-28, transports/streamable-http): with JSON, or with an event stream where progress or log lines come
 * before the end. A client that goes away cancels its request.
 */
export async function answerModern(
  message: JSONRPCRequest,
  { headers }: IncomingMessage,
  response: ServerResponse,
  http: ModernHttp,
): Promise<void> {
  const { id, method } = message;
  if (toEnvelope(message.params) === undefined) return answerError(response, 400, envelopeMissing, { id });
  const mismatch = findMismatch(headers, message);
  if (mismatch !== null) return answerError(response, 400, { code: headerMismatch, message: mismatch }, { id });
  if (method === "subscriptions/listen") return listen(message, response, http);

  const { dispatch, bearer, challenge, onFault } = http;
  const { signal } = openGone(response);
  const answer = openAnswer(response, onFault);
  let refused: { readonly code: ErrorCode; readonly text: string } | undefined;
  const answered = await dispatch.modern(message, {
    bearer,
    signal,
    notify: async (notification) => answer.tell(notification),
    onRefused: (code, text) => (refused = { code, text }),
    demandMirrored: (schema, args) => demandMirrored(headers, schema, args),
  });
  if (refused !== undefined && beyondGrant.has(refused.code) && !answer.isStreaming()) {
    const { code, text } = refused;
    const error = { code: -32_602, message: text, data: { code } };
    return answerError(response, 403, error, { id, headers: { "www-authenticate": challenge } });
  }
  answer.end(answered, toStatus(answered));
}

/** A subscription has no end of its own: it ends with its grant or the server. Of its request nothing stays in memory beside its stream. */
function listen(
  message: JSONRPCRequest,
  response: ServerResponse,
  { dispatch, bearer, hold, onFault }: ModernHttp,
): void {
  const gone = openGone(response);
  if (!hold(() => gone.abort())) return answerError(response, 503, noRoom, { id: message.id });
  const answer = openAnswer(response, onFault);
  const notify = async (notification: JSONRPCNotification): Promise<void> => answer.tell(notification);
  void dispatch
    .modern(message, { bearer, signal: gone.signal, notify })
    .then((answered) => answer.end(answered, toStatus(answered)))
    .catch(onFault);
}

/** Aborts when the client goes away before it has its answer. */
function openGone(response: ServerResponse): AbortController {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableEnded) gone.abort();
  });
  return gone;
}

const toStatus = (answered: JSONRPCResponse): number =>
  "error" in answered ? (statuses[answered.error.code] ?? 200) : 200;

import {
  type ClientCapabilities,
  type InitializeRequestParams,
  type InitializeResult,
  isInitializeRequest,
  isInputRequiredResult,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResponse,
  type JSONRPCMessage,
  type JSONRPCRequest,
  type JSONRPCResponse,
  LATEST_PROTOCOL_VERSION,
  ProtocolErrorCode,
  type RequestId,
  SUPPORTED_PROTOCOL_VERSIONS,
} from "@modelcontextprotocol/server";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Connection } from "./connection.ts";
import { demandRevision, toCanAnswer } from "./envelope.ts";
import type { Exchange } from "./exchange.ts";
import type { Answer } from "./http/answer.ts";
import { expectedParams } from "./message.ts";
import { findMethod, type Methods, methods } from "./methods.ts";
import { type ModernIo, toEnvelope, toError, toLog, toServerInfo } from "./modern.ts";
import { capabilities, instructions } from "./offer.ts";
import { openOlderQuestions, type Requests, speaksFor } from "./older-questions.ts";
import { toWireRequests } from "./questions.ts";
import { toFailedCall, toProtocolError } from "./result.ts";

/** A call that asks more often than this is asking in circles. */
const maxRounds = 8;

/** Who sent a message: the grant that it came under, and over HTTP the token. */
export interface Sender {
  readonly grant: Grant;
  readonly bearer?: string;
}

/** What is wrong with a message that was not taken. */
export interface BadMessage {
  readonly code: number;
  readonly message: string;
}

/** The connection of one client of 2025-11-25 or older. */
export interface Older {
  /** Takes a message; null where it is taken. A request is answered on `answer`; null: on the connection's own stream. */
  receive(message: unknown, sender: Sender, answer: Answer | null): BadMessage | null;
  /** Cancels a request that nobody hears the answer of. */
  abandon(id: RequestId): void;
  /** Whether a request is unanswered. */
  isBusy(): boolean;
  /** Cancels what still runs, and says so where it is awaited. */
  close(): void;
}

/** What a connection serves, and where what belongs to no request goes. */
export interface OlderServing {
  readonly connection: Connection;
  /** Methods beside those that both eras have. */
  readonly own: Methods;
  readonly send: (message: JSONRPCMessage) => void;
  /** The client has said that it is initialized. */
  readonly onInitialized: () => void;
  /** Gets the work on each request. It never rejects. */
  readonly track: (work: Promise<void>) => void;
}

interface Running {
  readonly grant: Grant;
  readonly answer: Answer | null;
  readonly ending: AbortController;
}

/**
 * Opens the connection of an older client (2025-11-25, basic/lifecycle): our own methods between its handshake and its end. What a method
 * asks is pushed while the call stays open, and the call goes on with the answers.
 *
 * Over HTTP any token of a session's user may use the session, but an answer to a question, and a cancellation, count only under the
 * grant of the call that they are about, or one that it was derived from: who holds a part of a grant must not speak for the whole.
 */
export function openOlder({ connection, own: more, send, onInitialized, track }: OlderServing): Older {
  const running = new Map<RequestId, Running>();
  const questions = openOlderQuestions();
  let client: ClientCapabilities | undefined;
  let level: unknown = "debug";

  async function serve(request: JSONRPCRequest, sender: Sender, own: Running): Promise<void> {
    const { id } = request;
    let response: JSONRPCResponse;
    try {
      response = { jsonrpc: "2.0", id, result: { ...(await toResult(request, sender, own)) } };
    } catch (thrown) {
      response = { jsonrpc: "2.0", id, error: toError(thrown) };
    }
    // It was cancelled, or its client is gone.
    if (running.get(id) !== own) return;
    running.delete(id);
    if (own.answer === null) send(response);
    else own.answer.end(response, 200);
  }

  async function toResult(request: JSONRPCRequest, sender: Sender, own: Running): Promise<object> {
    const { id, method, params } = request;
    if (method === "initialize" && isInitializeRequest(request)) return initialize(request.params);
    if (method === "ping") return {};
    if (method === "logging/setLevel") {
      level = params?.["level"];
      return {};
    }
    const perform = findMethod(method, methods, more);
    const { signal } = own.ending;
    const tell = (message: JSONRPCMessage): void => (own.answer === null ? send(message) : own.answer.tell(message));
    const notify = async (notification: JSONRPCMessage): Promise<void> => {
      if (running.get(id) === own) tell(notification);
    };
    const put = async (requests: Requests, until: AbortSignal): Promise<JsonObject> => {
      try {
        return await questions.ask(requests, { grant: own.grant, tell, signal: until });
      } catch (thrown) {
        const why = thrown instanceof Error ? thrown.message : String(thrown);
        throw new CapstanError("tool.input_needed", `What the call asked was not answered. ${why}`);
      }
    };
    const exchange: Exchange = {
      ...toExchange(params, sender, { signal, notify }),
      ask: async (requests, until) => await put(toWireRequests(requests), AbortSignal.any([signal, until])),
    };
    let result = await perform(connection, params, exchange);
    for (let round = 1; isInputRequiredResult(result); round += 1) {
      const { inputRequests = {}, requestState } = result;
      let inputResponses: JsonObject;
      try {
        if (round > maxRounds)
          throw new CapstanError(
            "tool.input_needed",
            `What the call asked was not answered. It has asked ${maxRounds} times.`,
          );
        inputResponses = await put(inputRequests, signal);
      } catch (thrown) {
        if (method === "tools/call") return toFailedCall(toCapstanError(thrown));
        throw toProtocolError(thrown);
      }
      result = await perform(connection, params, { ...exchange, requestState, inputResponses });
    }
    return result;
  }

  /** The revision that the client asks for, where it is spoken here; else the newest before 2026-07-28. */
  function initialize({ capabilities: offered, protocolVersion }: InitializeRequestParams): InitializeResult {
    client = offered;
    const isSpoken = SUPPORTED_PROTOCOL_VERSIONS.includes(protocolVersion);
    return {
      protocolVersion: isSpoken ? protocolVersion : LATEST_PROTOCOL_VERSION,
      capabilities,
      serverInfo: toServerInfo(connection.version),
      instructions,
    };
  }

  function toExchange(
    params: JSONRPCRequest["params"],
    { bearer }: Sender,
    { signal, notify }: Pick<ModernIo, "signal" | "notify">,
  ): Exchange {
    const envelope = toEnvelope(params);
    demandRevision(envelope);
    return {
      ...(bearer === undefined ? {} : { bearer }),
      meta: params?.["_meta"],
      signal,
      can: toCanAnswer(envelope, client),
      gone: signal,
      requestState: params?.["requestState"],
      inputResponses: params?.["inputResponses"],
      notify: (method, told) => void notify({ jsonrpc: "2.0", method, params: told }),
      log: (entry) => toLog(level, notify)(entry),
    };
  }

  function abandon(id: RequestId): void {
    const request = running.get(id);
    if (request === undefined) return;
    running.delete(id);
    request.ending.abort();
    request.answer?.leave();
  }

  function findFault(request: JSONRPCRequest): BadMessage | null {
    const expected = expectedParams(request);
    if (expected !== null) {
      return { code: ProtocolErrorCode.InvalidParams, message: `The params of ${request.method} must be ${expected}.` };
    }
    if (!running.has(request.id)) return null;
    const message = "A request with this id is still unanswered. Use a new id.";
    return { code: ProtocolErrorCode.InvalidRequest, message };
  }

  return {
    receive(message, sender, answer) {
      const { grant } = sender;
      if (isJSONRPCRequest(message)) {
        const bad = findFault(message);
        if (bad !== null) return bad;
        const own = { grant, answer, ending: new AbortController() };
        running.set(message.id, own);
        track(serve(message, sender, own));
      } else if (isJSONRPCResponse(message)) {
        if (!questions.answer(message, grant)) return noQuestion;
      } else if (!isJSONRPCNotification(message)) {
        return noMessage;
      } else if (message.method === "notifications/initialized") {
        onInitialized();
      } else if (message.method === "notifications/cancelled") {
        const id = toId(message.params?.["requestId"]);
        const request = running.get(id);
        if (request !== undefined && speaksFor(grant, request.grant)) abandon(id);
      }
      return null;
    },
    abandon,
    isBusy: () => running.size > 0,
    close() {
      const error = { code: ProtocolErrorCode.InternalError, message: "The session has ended." };
      for (const [id, { answer, ending }] of running) {
        ending.abort();
        answer?.end({ jsonrpc: "2.0", id, error }, 200);
      }
      running.clear();
    },
  };
}

const toId = (id: unknown): RequestId => (typeof id === "string" || typeof id === "number" ? id : "");

/** What is wrong with what is no request, no notification and no answer. */
export const noMessage: BadMessage = {
  code: ProtocolErrorCode.InvalidRequest,
  message: "The body is no JSON-RPC 2.0 message of MCP. Batches are no part of it.",
};
const noQuestion: BadMessage = {
  code: ProtocolErrorCode.InvalidRequest,
  message: "No question of this id waits for an answer under this token.",
};

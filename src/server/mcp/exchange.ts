import type { ErrorCode } from "../../core/error.ts";
import type { JsonObject, JsonSchema } from "../../core/json.ts";
import type { Answerer, AnswererNow, LogEntry } from "../../tools/tool.ts";
import type { CanAnswer } from "./envelope.ts";

/** One request of a client, as the methods see it, whatever the era and the transport. */
export interface Exchange {
  /** `params._meta`. */
  readonly meta: Readonly<Record<string, unknown>> | undefined;
  /** The token that came with the request itself, over HTTP. */
  readonly bearer?: string;
  /** Aborts when the client cancels the request or is gone. */
  readonly signal: AbortSignal;
  /** Which questions the client can answer. */
  readonly can: CanAnswer;
  /** Aborts when the client cancels or is gone, also while it is asked. Missing where each answer comes in a request of its own. */
  readonly gone?: AbortSignal;
  /** Puts questions to the client while its request stays open. Missing: answers come in requests of their own. */
  readonly ask?: AnswererNow["ask"];
  /** What a retried request brings back; undefined where it brings nothing. */
  readonly requestState: unknown;
  readonly inputResponses: unknown;
  /** Sends a notification that belongs to this request. */
  readonly notify: (method: string, params: Record<string, unknown>) => void;
  /** Sends a log line, if the client wants such. */
  readonly log: (entry: LogEntry) => void;
  /** Hears of a call that was refused, for transports that answer refusals in their own way. */
  readonly onRefused?: (code: ErrorCode, text: string) => void;
  /** Throws ProtocolError where headers that repeat arguments of a tool disagree with them. Missing where there are no headers. */
  readonly demandMirrored?: (inputSchema: JsonSchema, args: JsonObject) => void;
}

/** The client of a request, as whoever answers what the request asks. */
export function toAnswerer({ can, gone }: Exchange): Answerer {
  return { can, ...(gone === undefined ? {} : { gone }) };
}

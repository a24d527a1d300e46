import type { JsonObject } from "../../../core/json.ts";

/** A message of JSON-RPC that goes out. */
export type Outgoing = { readonly jsonrpc: "2.0" } & (
  | { readonly id: number; readonly method: string; readonly params: JsonObject }
  | { readonly method: string; readonly params?: JsonObject }
  | { readonly id: string | number; readonly result: JsonObject }
  | { readonly id: string | number; readonly error: { readonly code: number; readonly message: string } }
);

export interface SendOptions {
  /** Ends the stream of a request where it has one of its own. */
  readonly signal: AbortSignal;
  /** Further headers, where there are headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** Called when the request's own stream is over and brings nothing more. */
  readonly onEnd: () => void;
}

/** What carries messages to one server and back: a process's pipes or HTTP. Disposed of, it has released everything, awaited. */
export interface Link extends AsyncDisposable {
  /** Whether each request has a stream of its own, which cancels it when it is closed. */
  readonly hasOwnStreams: boolean;
  /**
   * Resolves when the message is on its way. Rejects with CapstanError; `details.status` is the HTTP status of a refusal, `details.session`
   * is `"lost"` where the server refused because it does not know the session, before it looked at the message.
   */
  send(message: Outgoing, options?: SendOptions): Promise<void>;
  /** The revision that later messages are of. */
  setVersion(version: string): void;
}

export interface LinkEvents {
  /** A message as it was parsed, unchecked. `requestId` is the request on whose own stream it came. */
  readonly onMessage: (message: unknown, requestId?: number) => void;
  /** Something came that can't be read, with a sentence about it: perhaps somebody's answer. */
  readonly onUnreadable: (what: string) => void;
  /** The server is gone, once; the sentence says how, and nothing more is sent or received. */
  readonly onClose: (why: string) => void;
}

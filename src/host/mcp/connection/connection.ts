import type { ServerCapabilities } from "@modelcontextprotocol/client";
import type { Clock } from "../../../core/clock.ts";
import type { JsonObject } from "../../../core/json.ts";
import type { Principal } from "../../../core/scope.ts";
import type { InputRequest, LogEntry, Progress } from "../../../tools/tool.ts";
import type { McpConfig } from "../config.ts";

/** `modern`: revision 2026-07-28, without a handshake. `legacy`: 2025-11-25 and older, begun by `initialize`. */
export type Era = "modern" | "legacy";

/** What servers list, as it came over the wire: only the fields that are named here are checked, and nothing is trusted. */
export type WireTool = JsonObject & { readonly name: string; readonly inputSchema: JsonObject };
export type WireResource = JsonObject & { readonly uri: string; readonly name: string };
export type WireResourceTemplate = JsonObject & { readonly uriTemplate: string; readonly name: string };
export type WirePrompt = JsonObject & { readonly name: string };

/** The requests that go to a server for somebody. */
export type ServerMethod =
  | "tools/call"
  | "prompts/get"
  | "resources/read"
  | "completion/complete"
  | "tasks/get"
  | "tasks/update"
  | "tasks/cancel";

export interface RequestOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Log lines of this request. Missing, or where a line tells no request: listeners get it. */
  readonly onLog?: (entry: LogEntry) => void;
  /**
   * Legacy servers ask while a request runs; the answers go back, by the ids of the questions. Missing: what is asked is declined. So
   * it is where a server has one stream for all and several requests are open, because nothing says then whose question it is.
   */
  readonly ask?: (requests: readonly InputRequest[]) => Promise<JsonObject>;
  /** What the caller can answer, for a modern server (`io.modelcontextprotocol/clientCapabilities`). Missing: nothing. */
  readonly clientCapabilities?: JsonObject;
  /** How long there may be no answer and no progress. Missing: the config's. */
  readonly timeoutMs?: number;
  /** How long the request may take in all. Missing: the config's. */
  readonly totalTimeoutMs?: number;
}

/** What happens at a server beside the requests. */
export type ServerChange =
  | { readonly type: "tools" | "resources" | "prompts" }
  | { readonly type: "resource"; readonly uri: string }
  | { readonly type: "up" }
  | { readonly type: "down"; readonly why: string }
  | ({ readonly type: "log" } & LogEntry);

/**
 * One MCP server for one principal, whether it is there now or not: connected at first use, and again after it was lost.
 * Whatever waits rejects with CapstanError `mcp.*`, or with the signal's reason as soon as that aborts.
 */
export interface Connection extends AsyncDisposable {
  /** Undefined while not connected. */
  readonly era: () => Era | undefined;
  /** Undefined while not connected. */
  readonly capabilities: () => ServerCapabilities | undefined;
  /** Lists are read to the end, at most 10,000 items on 200 pages. Empty where the server offers none. */
  listTools(signal: AbortSignal): Promise<readonly WireTool[]>;
  listResources(signal: AbortSignal): Promise<readonly WireResource[]>;
  listResourceTemplates(signal: AbortSignal): Promise<readonly WireResourceTemplate[]>;
  listPrompts(signal: AbortSignal): Promise<readonly WirePrompt[]>;
  /**
   * The bare result. A modern server's `input_required` is returned as it is; the caller sends the request again with
   * `inputResponses` and `requestState` in the params. Nothing is sent twice that the server may have begun.
   */
  request(method: ServerMethod, params: JsonObject, options: RequestOptions): Promise<JsonObject>;
  /** Asks for `resource` changes of a URI until `unsubscribe`, also after the server was lost in between. */
  subscribe(uri: string, signal: AbortSignal): Promise<void>;
  unsubscribe(uri: string, signal: AbortSignal): Promise<void>;
  /** Calls the listener, which must not throw, until it is disposed. Only who is listened to is connected again without a request. */
  on(listener: (change: ServerChange) => void): Disposable;
}

export interface ConnectionServices {
  /** The server's name in the config. */
  readonly name: string;
  readonly config: McpConfig["servers"][string];
  /** Capstan's own environment, from which the server gets no more than its config says. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Capstan's home. */
  readonly home: string;
  /** Capstan's version, told to the server. */
  readonly version: string;
  readonly clock: Clock;
  readonly log: (line: string) => void;
  /** For whom. Missing: the operator. */
  readonly principal?: Principal;
  /** Shows a person where to sign in. Missing: nobody is there. */
  readonly openBrowser?: (url: string) => Promise<void>;
}

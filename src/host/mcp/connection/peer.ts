import { SUBSCRIPTION_ID_META_KEY } from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { isJsonObject, type Json, type JsonObject } from "../../../core/json.ts";
import { valueInWords } from "../../../core/value-in-words.ts";
import type { Progress } from "../../../tools/tool.ts";
import type { Link, LinkEvents, SendOptions } from "./link.ts";
import type { RequestOptions } from "./connection.ts";
import { showText } from "./text.ts";

/** Deeper messages are refused: whoever walks one recursively must not run out of stack. */
const maxDepth = 128;
/** How many questions of a server may be open. */
const maxQuestions = 64;
/** The data of a server's error that is handed on. */
const maxErrorDataChars = 16_384;
/** Why the stream of a request ends with it. One for all: to make one, with its trace, takes as long as the rest of a request. */
const over = new DOMException("The request is over.", "AbortError");

/** For whom a request is sent: who may be asked, and who hears of it. Lists and the like are for nobody. */
export type Owner = Pick<RequestOptions, "ask" | "onLog">;

export interface PeerRequest {
  readonly signal: AbortSignal;
  /** How long there may be nothing at all, in ms. Missing: for ever. */
  readonly silenceMs?: number;
  /** How long it may take in all, in ms. Missing: for ever. */
  readonly totalMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the server is told with a notification when nobody waits any more; else the end of the stream tells it. */
  readonly tellsCancel: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Notifications that belong to this request. */
  readonly onNotification?: (method: string, params: JsonObject) => void;
  readonly owner?: Owner;
}

/** A request of the server. `owner` is whose request it belongs to, where that is certain. */
export interface Question {
  readonly id: string;
  readonly method: string;
  readonly params: JsonObject;
  readonly owner: Owner | undefined;
}

export interface PeerServices {
  readonly name: string;
  readonly log: (line: string) => void;
  /** Answers with the result, or with an error of JSON-RPC. */
  readonly onQuestion: (
    question: Question,
  ) => Promise<{ readonly result: JsonObject } | { readonly error: { code: number; message: string } }>;
  readonly onNotification: (method: string, params: JsonObject, owner: Owner | undefined) => void;
}

/** One side of JSON-RPC over a link. */
export interface Peer extends Pick<LinkEvents, "onMessage" | "onUnreadable"> {
  /** Everything goes out through this link, which must be set before the first request. */
  attach(link: Link): void;
  /** Rejects with `mcp.*`, or with the signal's reason. */
  request(method: string, params: JsonObject, options: PeerRequest): Promise<JsonObject>;
  /** Rejects as the link's `send` does. */
  notify(method: string, params?: JsonObject): Promise<void>;
  /** Ends every open request, and all that come. */
  end(error: CapstanError): void;
}

interface OpenRequest extends PeerRequest {
  readonly method: string;
  readonly resolve: (result: JsonObject) => void;
  readonly reject: (error: unknown) => void;
  /** Something came: the time of silence begins anew. */
  readonly touch: () => void;
  /** A person is asked: there is no time of silence until this is called with false. */
  readonly pause: (isAsking: boolean) => void;
}

/** Opens one side. It holds the requests that are open, and knows nothing of eras and processes. */
export function openPeer(services: PeerServices): Peer {
  const { name, log } = services;
  const requests = new Map<number, OpenRequest>();
  let link: Link | undefined;
  let lastId = 0;
  let questions = 0;
  let ended: CapstanError | undefined;

  const send = async (message: Parameters<Link["send"]>[0], options?: SendOptions): Promise<void> => {
    if (ended !== undefined || link === undefined) throw ended ?? gone(name, "is not connected");
    await link.send(message, options);
  };
  const tell = (method: string, params: JsonObject): void => {
    send({ jsonrpc: "2.0", method, params }).catch(() => log(`${method} could not be sent`));
  };

  async function request(method: string, params: JsonObject, options: PeerRequest): Promise<JsonObject> {
    const { signal, tellsCancel, headers = {} } = options;
    signal.throwIfAborted();
    if (ended !== undefined) throw ended;
    const id = (lastId += 1);
    const { promise, resolve, reject } = Promise.withResolvers<JsonObject>();
    const stream = new AbortController();
    const giveUp = (reason: unknown): void => {
      reject(reason);
      if (tellsCancel && requests.has(id))
        tell("notifications/cancelled", { requestId: id, reason: "no longer needed" });
    };
    const timers = startTimers(options, (kind, ms) => giveUp(timedOut(name, method, kind, ms)));
    const onAbort = (): void => giveUp(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    requests.set(id, { ...options, method, resolve, reject, touch: timers.touch, pause: timers.pause });
    const message = {
      jsonrpc: "2.0",
      id,
      method,
      params: options.owner === undefined ? params : withToken(params, id),
    } as const;
    const onEnd = (): void => reject(gone(name, `broke off its answer to ${method}`));
    try {
      send(message, { signal: stream.signal, headers, onEnd }).catch(reject);
      return await promise;
    } finally {
      requests.delete(id);
      timers.stop();
      signal.removeEventListener("abort", onAbort);
      stream.abort(over);
    }
  }

  /** Whose a message is that names no request: with one request open there is no doubt. */
  function ownerOf(requestId: number | undefined): OpenRequest | undefined {
    if (requestId !== undefined) return requests.get(requestId);
    const owned = [...requests.values()].filter(({ owner }) => owner !== undefined);
    return owned.length === 1 ? owned[0] : undefined;
  }

  function onMessage(message: unknown, requestId?: number): void {
    if (!isJsonObject(message) || message["jsonrpc"] !== "2.0")
      return onUnreadable("a message that is none of JSON-RPC 2.0");
    const { id, method, params } = message;
    const isCall = typeof method === "string";
    const open = !isCall && typeof id === "number" ? requests.get(id) : undefined;
    if (isDeeperThan(message, maxDepth)) {
      open?.reject(broken(name, `answered ${open.method} with data nested deeper than ${maxDepth} levels`));
      return log(`a message nested deeper than ${maxDepth} levels was left out`);
    }
    if (isCall) {
      const given = isJsonObject(params) ? params : {};
      if (typeof id === "string" || typeof id === "number") answerQuestion(id, method, given, requestId);
      else if (id === undefined) onNotification(method, given, requestId);
    } else if (open === undefined) log(`an answer that nobody waits for was left out (id ${valueInWords(id)})`);
    else if (isJsonObject(message["result"])) open.resolve(message["result"]);
    else open.reject(toServerError(name, open.method, message["error"]));
  }

  function onUnreadable(what: string): void {
    log(`${what} was left out`);
    // It may have been the answer that somebody waits for; with one request open there is no doubt.
    const [only, ...others] = requests.values();
    if (only !== undefined && others.length === 0 && what.startsWith("a line"))
      only.reject(broken(name, `answered ${only.method} with ${what}`));
  }

  function onNotification(method: string, params: JsonObject, requestId: number | undefined): void {
    if (method === "notifications/progress") {
      const token = params["progressToken"];
      const open = typeof token === "number" ? requests.get(token) : undefined;
      open?.touch();
      const progress = toProgress(params);
      if (progress !== undefined) open?.onProgress?.(progress);
      return;
    }
    const subscription = isJsonObject(params["_meta"]) ? params["_meta"][SUBSCRIPTION_ID_META_KEY] : undefined;
    const related = requestId ?? (typeof subscription === "number" ? subscription : undefined);
    if (related !== undefined) requests.get(related)?.onNotification?.(method, params);
    services.onNotification(method, params, ownerOf(related)?.owner);
  }

  function answerQuestion(
    id: string | number,
    method: string,
    params: JsonObject,
    requestId: number | undefined,
  ): void {
    const answer = (
      reply: { readonly result: JsonObject } | { readonly error: { code: number; message: string } },
    ): void => {
      send({ jsonrpc: "2.0", id, ...reply }).catch(() =>
        log(`the answer to ${showText(method, 80)} could not be sent`),
      );
    };
    if (questions >= maxQuestions)
      return answer({ error: { code: -32_603, message: `${maxQuestions} questions are open already` } });
    const open = ownerOf(requestId);
    questions += 1;
    open?.pause(true);
    services
      .onQuestion({ id: `${typeof id}:${id}`, method, params, owner: open?.owner })
      .then(answer, () => answer({ error: { code: -32_603, message: "Internal error" } }))
      .finally(() => {
        questions -= 1;
        open?.pause(false);
      })
      .catch(() => log(`${showText(method, 80)} could not be answered`));
  }

  return {
    attach: (given) => void (link = given),
    request,
    notify: (method, params) => send({ jsonrpc: "2.0", method, ...(params === undefined ? {} : { params }) }),
    end(error) {
      ended ??= error;
      for (const { reject } of [...requests.values()]) reject(error);
    },
    onMessage,
    onUnreadable,
  };
}

/** Servers report progress to those who ask for it, and progress keeps a request alive. */
function withToken(params: JsonObject, progressToken: number): JsonObject {
  const meta = isJsonObject(params["_meta"]) ? params["_meta"] : {};
  return { ...params, _meta: { ...meta, progressToken } };
}

function startTimers(
  { silenceMs, totalMs }: PeerRequest,
  onTimeout: (kind: "silence" | "total", ms: number) => void,
): Pick<OpenRequest, "touch" | "pause"> & { stop(): void } {
  let asking = 0;
  let silence: NodeJS.Timeout | undefined;
  const total = totalMs === undefined ? undefined : setTimeout(() => onTimeout("total", totalMs), totalMs);
  const touch = (): void => {
    clearTimeout(silence);
    if (silenceMs !== undefined && asking === 0) silence = setTimeout(() => onTimeout("silence", silenceMs), silenceMs);
  };
  touch();
  let isOver = false;
  return {
    touch: () => void (isOver || touch()),
    pause(isAsking) {
      asking += isAsking ? 1 : -1;
      if (!isOver) touch();
    },
    stop() {
      isOver = true;
      clearTimeout(silence);
      clearTimeout(total);
    },
  };
}

function toProgress({ progress, total, message }: JsonObject): Progress | undefined {
  if (typeof progress !== "number" || !Number.isFinite(progress)) return undefined;
  return {
    done: progress,
    ...(typeof total === "number" && Number.isFinite(total) ? { total } : {}),
    ...(typeof message === "string" ? { message: showText(message, 1_000) } : {}),
  };
}

function isDeeperThan(value: Json, levels: number): boolean {
  let level: Json[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > levels) return true;
    const next: Json[] = [];
    for (const item of level) {
      for (const inner of Object.values(item ?? {})) if (typeof inner === "object" && inner !== null) next.push(inner);
    }
    level = next;
  }
  return false;
}

function toServerError(server: string, method: string, error: Json | undefined): CapstanError {
  if (!isJsonObject(error) || typeof error["code"] !== "number" || typeof error["message"] !== "string") {
    return broken(server, `answered ${method} with neither a result nor an error`);
  }
  const { code, message, data } = error;
  const isShown = data !== undefined && JSON.stringify(data).length <= maxErrorDataChars;
  return new CapstanError(
    "mcp.server_error",
    `The MCP server ${server} refused ${method} (${code}): ${showText(message)}`,
    {
      details: { server, code, ...(isShown ? { data } : {}) },
    },
  );
}

/** `mcp.server_gone`: the server went away, and nobody knows how far it came. */
export function gone(server: string, what: string): CapstanError {
  const text = `The MCP server ${server} ${what}. What was asked of it may have been carried out. The next call connects to it again.`;
  return new CapstanError("mcp.server_gone", text, { details: { server, what } });
}

/** `mcp.protocol`: the server does not speak as MCP says. */
export function broken(server: string, what: string): CapstanError {
  const text = `The MCP server ${server} ${what}. Look at its log, or ask who maintains it.`;
  return new CapstanError("mcp.protocol", text, { details: { server } });
}

function timedOut(server: string, method: string, kind: "silence" | "total", ms: number): CapstanError {
  const [what, key] =
    kind === "silence" ? ["neither an answer nor progress", "timeoutMs"] : ["no answer", "totalTimeoutMs"];
  const text = `The MCP server ${server} gave ${what} to ${method} for ${ms} ms. It may have been carried out. Allow more with mcp.servers.${server}.${key}.`;
  return new CapstanError("mcp.timeout", text, { details: { server } });
}

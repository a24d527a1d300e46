import { type FetchLike, LOG_LEVEL_META_KEY } from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { isJsonObject, type JsonObject } from "../../../core/json.ts";
import { isObserved, withTrace } from "../../telemetry/carry.ts";
import { isLegacySign, negotiate, type Negotiated, toEnvelope } from "./era.ts";
import type { Link, LinkEvents } from "./link.ts";
import { gone, openPeer, type Owner, type Peer, type PeerRequest } from "./peer.ts";
import { answerQuestion } from "./questions.ts";
import type { ConnectionServices } from "./connection.ts";
import { openHttpLink, openSseLink } from "./http.ts";
import { toServerFetch } from "./http-fetch.ts";
import { openStdioLink } from "./stdio.ts";
import { toLaunch } from "./stdio-launch.ts";

/** What is known of a server from before. */
export interface Verdict {
  /** `sse` is legacy over HTTP+SSE. */
  readonly kind: "legacy" | "sse";
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** A server that is there, until `closed`. */
export interface Session extends Negotiated, AsyncDisposable {
  readonly peer: Peer;
  readonly hasOwnStreams: boolean;
  /** Why the server went away, once it has. */
  readonly closed: Promise<string>;
  readonly verdict: Verdict | undefined;
  /** A request with what its era wants in it. */
  send(method: string, params: JsonObject, options: SessionRequest): Promise<JsonObject>;
}

export interface SessionRequest extends Omit<PeerRequest, "tellsCancel"> {
  /** What whoever stands behind the request can answer. */
  readonly clientCapabilities?: JsonObject;
}

export interface SessionServices extends ConnectionServices {
  readonly onNotification: (method: string, params: JsonObject, owner: Owner | undefined) => void;
}

/** How long a legacy verdict of a remote server counts: it may be upgraded at any time. */
const verdictMs = 3_600_000;

/**
 * Connects once, within the config's `startTimeoutMs`. A verdict only saves a step: one that no longer holds is found out and dropped.
 * Throws `mcp.start_failed` and what the parts throw.
 */
export async function openSession(
  services: SessionServices,
  known: Verdict | undefined,
  signal: AbortSignal,
): Promise<Session> {
  const { name, config, clock } = services;
  const deadline = AbortSignal.timeout(config.startTimeoutMs);
  const within = AbortSignal.any([signal, deadline]);
  const fresh = known !== undefined && clock() - known.at < verdictMs ? known : undefined;
  const failed = (text: string, cause: unknown): CapstanError =>
    new CapstanError("mcp.start_failed", `The MCP server ${name} ${text}`, { cause, details: { server: name } });
  try {
    if ("command" in config) return await openStdio({ ...services, config }, fresh, within);
    return await openHttp({ ...services, config }, fresh, within);
  } catch (thrown) {
    const where = `mcp.servers.${name}`;
    if (deadline.aborted && !signal.aborted) {
      const { startTimeoutMs: ms } = config;
      throw failed(
        `did not get ready within ${ms} ms. Look at its log, or allow more with ${where}.startTimeoutMs.`,
        thrown,
      );
    }
    if (!isGone(thrown)) throw thrown;
    const what = String(thrown.details["what"]);
    if ("url" in config) throw failed(`${what}. Look whether it runs and whether ${where}.url is right.`, thrown);
    throw failed(`${what} before it was ready. What it wrote to stderr is in the log. Look at ${where}.`, thrown);
  }
}

type Stdio = SessionServices & { readonly config: Extract<SessionServices["config"], { command: string }> };
type Http = SessionServices & { readonly config: Extract<SessionServices["config"], { url: string }> };

/** One process at a time. Some servers end at any request before `initialize`: those are started once more and not probed. */
async function openStdio(services: Stdio, known: Verdict | undefined, signal: AbortSignal): Promise<Session> {
  const launch = await toLaunch(services);
  const open = async (isProbed: boolean): Promise<Session> =>
    await begin(services, signal, (events) => openStdioLink({ ...services, launch }, events), isProbed, "legacy");
  if (known === undefined) {
    try {
      return await open(true);
    } catch (thrown) {
      if (signal.aborted || !isGone(thrown)) throw thrown;
      return await open(false);
    }
  }
  try {
    return await open(false);
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return await open(true);
  }
}

/** Streamable HTTP of either era, else HTTP+SSE. */
async function openHttp(services: Http, known: Verdict | undefined, signal: AbortSignal): Promise<Session> {
  const given = { ...services, url: services.config.url, fetch: toServerFetch(services) };
  if (known !== undefined) {
    const session = await (known.kind === "sse" ? openSse(given, signal) : openStreamable(given, signal, false)).catch(
      (thrown: unknown) => {
        if (!isLegacySign(thrown)) throw thrown;
      },
    );
    if (session !== undefined) return session;
  }
  try {
    return await openStreamable(given, signal, true);
  } catch (thrown) {
    // The status of a refused `initialize` is the sign of the older transport (streamable HTTP, Earlier Revisions).
    if (!isLegacySign(thrown)) throw thrown;
    return await openSse(given, signal).catch(() => {
      throw thrown;
    });
  }
}

type Given = SessionServices & { readonly url: string; readonly fetch: FetchLike };

const openStreamable = async (given: Given, signal: AbortSignal, isProbed: boolean): Promise<Session> =>
  await begin(given, signal, (events) => openHttpLink(given, events), isProbed, "legacy");

const openSse = async (given: Given, signal: AbortSignal): Promise<Session> =>
  await begin(given, signal, (events) => openSseLink(given, events, signal), false, "sse");

async function begin(
  services: SessionServices,
  signal: AbortSignal,
  openLink: (events: LinkEvents) => Link | Promise<Link>,
  isProbed: boolean,
  kind: Verdict["kind"],
): Promise<Session> {
  const { name, version, config, clock, log, onNotification } = services;
  const closed = Promise.withResolvers<string>();
  const peer = openPeer({ name, log, onNotification, onQuestion: (question) => answerQuestion(question, log) });
  const onClose = (why: string): void => {
    peer.end(gone(name, why));
    closed.resolve(why);
  };
  const link = await openLink({ onMessage: peer.onMessage, onUnreadable: peer.onUnreadable, onClose });
  peer.attach(link);
  try {
    const isStdio = "command" in config;
    const { startTimeoutMs } = config;
    const setVersion = (revision: string): void => link.setVersion(revision);
    const found = await negotiate(peer, {
      server: name,
      version,
      isStdio,
      isProbed,
      startTimeoutMs,
      setVersion,
      signal,
    });
    const tellsCancel = !(found.era === "modern" && link.hasOwnStreams);
    return {
      ...found,
      peer,
      hasOwnStreams: link.hasOwnStreams,
      closed: closed.promise,
      verdict: found.era === "legacy" ? { kind, at: clock() } : undefined,
      async send(method, params, { clientCapabilities = {}, ...options }) {
        const traced = isObserved() ? await withTrace(params) : params;
        return await peer.request(
          method,
          found.era === "modern" ? withEnvelope(traced, options, clientCapabilities) : traced,
          {
            ...options,
            tellsCancel,
          },
        );
      },
      async [Symbol.asyncDispose]() {
        onClose("was closed");
        await link[Symbol.asyncDispose]();
      },
    };
  } catch (thrown) {
    await link[Symbol.asyncDispose]();
    throw thrown;
  }

  function withEnvelope(
    params: JsonObject,
    { owner }: Omit<PeerRequest, "tellsCancel">,
    clientCapabilities: JsonObject,
  ): JsonObject {
    const given = isJsonObject(params["_meta"]) ? params["_meta"] : {};
    const logLevel = owner?.onLog === undefined ? {} : { [LOG_LEVEL_META_KEY]: "info" };
    return { ...params, _meta: { ...given, ...toEnvelope(version, clientCapabilities), ...logLevel } };
  }
}

function isGone(thrown: unknown): thrown is CapstanError {
  return thrown instanceof CapstanError && thrown.code === "mcp.server_gone";
}

import { lookup as lookUp } from "node:dns";
import type { LookupAddress } from "node:dns";
import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { Agent as HttpAgent, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { LookupFunction } from "node:net";
import { isIP } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { FetchLike } from "@modelcontextprotocol/client";
import { CapstanError } from "../../core/error.ts";
import { isPrivateAddress, isPrivateHost } from "../../permissions/address.ts";

/** All of an answer that is read whole, such as a metadata document or a token: what it may take, and how long. */
const maxDocumentBytes = 1024 * 1024;
const documentTimeoutMs = 30_000;
/** An answer to a request of the protocol that is no event stream. Event streams may go on for ever. */
const maxMessageBytes = 32 * 1024 * 1024;
const maxHeaderBytes = 32 * 1024;
/** How much of an answer may wait for its reader. */
const bufferedBytes = 64 * 1024;

/** Resolves a host name to all of its addresses. */
export type Resolve = (
  host: string,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

const system: Resolve = (host, callback) => lookUp(host, { all: true }, callback);

/**
 * A `fetch` for servers that are not trusted. https only, and to the public internet only; `isPrivate` allows private and loopback
 * addresses too, and to those plain http. What counts is the address that is connected to: the name is resolved once, each of its
 * addresses is checked, and the socket goes to one of them, so that a second answer of the name server changes nothing.
 *
 * It follows no redirect, whatever `init.redirect` says: the 3xx is the answer, and whoever goes there fetches again, checked again.
 * Bodies are streamed. Of a request that accepts no event stream, the answer may take 1 MiB and 30 s; else what is no event stream may
 * take 32 MiB. Rejects with a TypeError, as `fetch` does, whose cause is a CapstanError `mcp.url_refused` where the guard refused, and
 * with the signal's reason.
 */
export function guardedFetch(isPrivate: boolean, resolve: Resolve = system): FetchLike {
  const options = { keepAlive: true, maxHeaderSize: maxHeaderBytes };
  const plain = new HttpAgent({ ...options, lookup: toLookup(resolve, (address) => isPrivateAddress(address)) });
  const secure = new HttpsAgent({
    ...options,
    lookup: toLookup(resolve, (address) => isPrivate || !isPrivateAddress(address)),
  });

  return async (input, init) => {
    const url = parseRemoteUrl(String(input), isPrivate);
    // It reads every form of headers and body that `fetch` takes. Its own signal no longer follows the given one once it is collected.
    const { method, headers, body } = new Request(url, init);
    const given = init?.signal ?? new AbortController().signal;
    const sent = body === null ? undefined : Buffer.from(await new Response(body).arrayBuffer());
    const isStream = (headers.get("accept") ?? "").includes("text/event-stream");
    const signal = isStream ? given : AbortSignal.any([given, AbortSignal.timeout(documentTimeoutMs)]);
    const isPlain = url.protocol === "http:";
    const common: RequestOptions = { method, headers: toPlainHeaders(headers, sent), signal };
    // A kept connection that the server has closed meanwhile shows when sockets are looked at, which is between two turns. Sent on it,
    // nobody would know whether the request had arrived.
    await nextTurn();
    await nextTurn();
    const request = isPlain
      ? requestHttp(url, { ...common, agent: plain })
      : requestHttps(url, { ...common, agent: secure });
    try {
      const answer = await sendRequest(request, sent);
      const isEvents = isStream && /^text\/event-stream\b/i.test(answer.headers["content-type"] ?? "");
      return toResponse(answer, isStream ? (isEvents ? Infinity : maxMessageBytes) : maxDocumentBytes);
    } catch (thrown) {
      signal.throwIfAborted();
      if (refusalIn(thrown) !== undefined) throw thrown;
      throw new TypeError(`${method} ${url.origin} failed: ${reasonOf(thrown)}`, { cause: thrown });
    }
  };
}

/**
 * A URL that may be connected to as far as its spelling says. `where` names what named it. Throws a TypeError, as `fetch` does for a
 * URL that it can't use, whose cause is a CapstanError `mcp.url_refused`.
 */
export function parseRemoteUrl(text: string, isPrivate: boolean, where = "a server"): URL {
  const url = URL.parse(text);
  const problem = problemOf(url, isPrivate);
  if (url !== null && problem === undefined) return url;
  throw refused(`The URL ${show(text)}, which ${where} names, is refused: ${problem ?? "it is no URL"}.`);
}

function problemOf(url: URL | null, isPrivate: boolean): string | undefined {
  if (url === null) return "it is no URL";
  if (url.protocol !== "https:" && url.protocol !== "http:") return "only https is connected to";
  if (url.username !== "" || url.password !== "") return "it holds a user name or password";
  const isLocal = isPrivateHost(url.hostname);
  if (!isPrivate && isLocal) return "its address is private. If that is meant, set private: true for this server";
  // A name is checked when it is resolved.
  const isPublic = !isLocal && isIP(url.hostname.replace(/^\[|\]$/g, "")) !== 0;
  if (url.protocol === "http:" && (!isPrivate || isPublic)) return "only https is connected to";
  return undefined;
}

function toLookup(resolve: Resolve, isAllowed: (address: string) => boolean): LookupFunction {
  return (host, { all }, callback) => {
    resolve(host, (error, addresses) => {
      const [first] = addresses ?? [];
      const wrong = addresses?.find(({ address }) => !isAllowed(address));
      if (error !== null || first === undefined) callback(error ?? new Error(`${host} has no address`), "");
      else if (wrong !== undefined) callback(refusedAddress(host, wrong.address), "");
      else if (all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

function refusedAddress(host: string, address: string): TypeError {
  const problem = isPrivateAddress(address)
    ? "which is private. If that is meant, set private: true for this server"
    : "which is public, and plain http is for private addresses only. Use https";
  return refused(`${host} leads to ${address}, ${problem}.`);
}

function refused(text: string): TypeError {
  return new TypeError(text, { cause: new CapstanError("mcp.url_refused", text) });
}

function toPlainHeaders(headers: Headers, body: Uint8Array | undefined): Record<string, string | number> {
  const length = body === undefined ? {} : { "content-length": body.length };
  return { ...Object.fromEntries(headers), "accept-encoding": "identity", ...length };
}

async function sendRequest(request: ClientRequest, body: Uint8Array | undefined): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  // Stays for good: an error after the answer has begun is told by the answer, and must not be unhandled here.
  request.on("error", reject).on("response", resolve);
  request.end(body);
  return await promise;
}

/** Statuses whose answers have no body (Fetch standard, null body status). */
const bodiless = new Set([204, 205, 304]);

function toResponse(answer: IncomingMessage, maxBytes: number): Response {
  const { statusCode: status = 500, statusMessage: statusText = "", rawHeaders } = answer;
  const headers = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  if (bodiless.has(status)) answer.resume();
  return new Response(bodiless.has(status) ? null : toBody(answer, maxBytes), { status, statusText, headers });
}

function toBody(answer: IncomingMessage, maxBytes: number): ReadableStream<Uint8Array> {
  let seen = 0;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        answer.on("data", (chunk: Uint8Array) => {
          seen += chunk.length;
          if (seen > maxBytes) answer.destroy(new Error(`the answer is larger than ${maxBytes} bytes`));
          else controller.enqueue(chunk);
          if ((controller.desiredSize ?? 0) <= 0) answer.pause();
        });
        answer.on("end", () => controller.close());
        answer.on("error", (error) => controller.error(error));
      },
      pull: () => void answer.resume(),
      cancel() {
        // What has arrived already would come yet, and a cancelled stream takes nothing.
        answer.removeAllListeners("data").removeAllListeners("end").destroy();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: bufferedBytes }),
  );
}

/** The refusal of the guard that a rejection of its `fetch` tells; undefined for any other failure. */
export function refusalIn(thrown: unknown): CapstanError | undefined {
  const cause = thrown instanceof TypeError ? thrown.cause : undefined;
  return cause instanceof CapstanError ? cause : undefined;
}

function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return "unknown";
  return "code" in thrown ? String(thrown.code) : thrown.message;
}

/** A text of somebody else, fit to be shown: quoted, escaped and short. */
function show(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

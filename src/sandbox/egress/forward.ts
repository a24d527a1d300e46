import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { CapstanError } from "../../core/error.ts";
import { http } from "../../core/http.ts";
import type { ConnectTarget } from "../engine.ts";
import { toAuthority } from "./target.ts";

const maxAnswerHeaderBytes = 64 * 1024;
/** Headers that go no further (RFC 9110, 7.6.1 and 7.7), or that are written anew. */
const hopByHop = new Set(
  "connection keep-alive proxy-connection proxy-authorization proxy-authenticate te trailer transfer-encoding upgrade expect host content-length".split(
    " ",
  ),
);
/** Methods whose requests, without a body, say nothing of its length. */
const bodiless = new Set(["GET", "HEAD", "OPTIONS", "DELETE", "TRACE"]);

/**
 * Sends one request on to the server that `upstream` is connected to, and its answer back. Both are written anew from what was parsed,
 * so that there is one reading of where a message ends; Host is the target, whatever the client said (RFC 9112, 3.2.2). Rejects when
 * either side breaks.
 */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  to: { readonly target: ConnectTarget; readonly path: string; readonly upstream: Socket },
  spend: (bytes: number) => void,
): Promise<void> {
  const { target, path, upstream } = to;
  const headers = ["Host", toAuthority(target), ...toFraming(request), ...toHeaders(request.rawHeaders)];
  spend(sizeOf(headers) + path.length);
  const { promise: answered, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = http.request({
    method: request.method ?? "GET",
    path,
    headers,
    createConnection: () => upstream,
    maxHeaderSize: maxAnswerHeaderBytes,
  });
  outgoing
    .on("response", resolve)
    .on("error", reject)
    .on("close", () => reject(new Error("The server went away.")));
  response.on("close", () => upstream.destroy());
  const count = ({ length }: Buffer) => spend(length);
  // A server may answer, and close, before it has read a whole request: that breaks nothing.
  request.on("data", count).pipe(outgoing);
  if (response.closed) upstream.destroy();
  const answer = await answered.catch((cause: unknown) => {
    throw new CapstanError("sandbox.unreachable", `${toAuthority(target)} did not answer in form.`, { cause });
  });
  spend(sizeOf(answer.rawHeaders));
  response.sendDate = false;
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? "", [
    ...(answer.headers["content-length"] === undefined ? [] : ["Content-Length", answer.headers["content-length"]]),
    ...toHeaders(answer.rawHeaders),
  ]);
  await pipeline(answer.on("data", count), response);
  upstream.destroy();
}

/** How long the body is, by what the parser found: no header that the client names in Connection takes that away. */
function toFraming({ headers, method = "GET" }: IncomingMessage): readonly string[] {
  const length = headers["content-length"];
  if (headers["transfer-encoding"] !== undefined) return ["Transfer-Encoding", "chunked"];
  if (length !== undefined) return ["Content-Length", length];
  return bodiless.has(method) ? [] : ["Content-Length", "0"];
}

/** What of a message's headers goes on: all but those of this hop, and those that Connection names. */
function toHeaders(raw: readonly string[]): string[] {
  const pairs = Array.from({ length: raw.length / 2 }, (_, at) => [raw[2 * at] ?? "", raw[2 * at + 1] ?? ""] as const);
  const named = pairs.filter(([name]) => name.toLowerCase() === "connection").flatMap(([, value]) => value.split(","));
  const left = hopByHop.union(new Set(named.map((name) => name.trim().toLowerCase())));
  return pairs.filter(([name]) => !left.has(name.toLowerCase())).flat();
}

const sizeOf = (headers: readonly string[]): number => headers.reduce((sum, { length }) => sum + length + 2, 0);

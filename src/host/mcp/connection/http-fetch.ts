import type { FetchLike } from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { localPrincipal } from "../../../core/scope.ts";
import type { HttpServer } from "../config.ts";
import type { ConnectionServices } from "./connection.ts";
import { demandVariable, expandVariables } from "./environment.ts";
import { guardedFetch } from "../guarded-fetch.ts";
import { openSignIn } from "../oauth/sign-in.ts";

/** One event of a stream: a message, 12 MB results included. */
const maxEventBytes = 32 * 1024 * 1024;

/**
 * The `fetch` for one server and principal: guarded, with the headers of the config, signed in. The headers go to the origin of the
 * server alone. Throws `mcp.variable_missing`.
 */
export function toServerFetch(services: ConnectionServices & { readonly config: HttpServer }): FetchLike {
  const { name, config, env, home, principal = localPrincipal, openBrowser, log } = services;
  const own = toHeaders(services);
  const { origin } = new URL(config.url);
  const guarded = guardedFetch(config.private);
  const plain: FetchLike = async (input, init) => {
    const headers = new Headers(init?.headers);
    if (new URL(input).origin === origin) for (const [key, value] of own) headers.set(key, value);
    return boundEvents(await guarded(input, { ...init, headers }));
  };
  if (own.has("authorization") || config.auth?.type === "bearer") return plain;
  const auth = config.auth;
  const { user } = principal;
  return openSignIn({
    server: name,
    url: config.url,
    auth,
    isPrivate: config.private,
    home,
    user,
    env,
    fetch: plain,
    ...(openBrowser === undefined ? {} : { openBrowser }),
    log,
  }).fetch;
}

function toHeaders({ name, config, env }: ConnectionServices & { readonly config: HttpServer }): Headers {
  const where = `mcp.servers.${name}`;
  const headers = new Headers();
  for (const [key, text] of Object.entries(config.headers)) {
    const value = expandVariables(text, env, `${where}.headers.${key}`);
    try {
      headers.set(key, value);
    } catch {
      // The value may be a secret.
      throw new CapstanError(
        "mcp.start_failed",
        `${where}.headers.${key} is no header that HTTP can carry. Correct it.`,
      );
    }
  }
  if (config.auth?.type === "bearer") {
    const value = demandVariable(config.auth.tokenEnv, env, `${where}.auth.tokenEnv`);
    if (!/^[\x21-\x7e]+$/.test(value)) {
      throw new CapstanError(
        "mcp.start_failed",
        `${config.auth.tokenEnv} holds no token: a token is printable ASCII without spaces.`,
      );
    }
    headers.set("authorization", `Bearer ${value}`);
  }
  return headers;
}

/** Ends an event stream at an event that is larger than any message may be, before it fills the memory. */
function boundEvents(response: Response): Response {
  const isEvents = /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
  if (!isEvents || response.body === null) return response;
  let size = 0;
  let tail: Uint8Array = Buffer.alloc(0);
  const bound = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      // A blank line ends an event; it may lie across two chunks.
      const seen = Buffer.concat([tail, chunk]);
      const end = Math.max(...["\n\n", "\r\n\r\n", "\r\r"].map((blank) => seen.lastIndexOf(blank)));
      size = end === -1 ? size + chunk.length : seen.length - end;
      tail = seen.subarray(-3);
      if (size > maxEventBytes) controller.error(new Error(`an event is larger than ${maxEventBytes} bytes`));
      else controller.enqueue(chunk);
    },
  });
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(bound), { status, statusText, headers });
}

import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

/** A request as the servers of these tests saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  readonly body: string;
}

type Answer = (seen: Seen, response: ServerResponse) => unknown;

/** A server on loopback that keeps what it saw. */
export async function openLoopback(answer: Answer) {
  const seen: Seen[] = [];
  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname: path, searchParams: query } = new URL(request.url ?? "/", "http://127.0.0.1");
    const { authorization } = request.headers;
    const one = { method: request.method ?? "", path, query, authorization, body: await text(request) };
    seen.push(one);
    await answer(one, response);
  };
  const server = createServer((request, response) => {
    receive(request, response).catch(() => response.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("the server has no port");
  return {
    origin: `http://127.0.0.1:${address.port}`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

interface Issued {
  readonly resource: string;
  readonly scope: string;
}

/** What a test changes in a lawful authorization server. */
export interface Twist {
  /** In its metadata. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** The `iss` that it sends back by the browser; null: none. */
  readonly iss?: string | null;
  /** Leaves a refresh token good after its use, and sends no new one. */
  readonly keepsRefreshTokens?: boolean;
  /** The `error` that it sends back instead of a code. */
  readonly error?: string;
}

/**
 * An authorization server as RFC 8414, 7591, 7636, 8707 and 9207 want it: it registers clients, checks PKCE, the redirect URI and the
 * resource, and rotates refresh tokens. One that is used twice ends every token of its family (RFC 9700, section 4.14.2).
 */
export async function openAuthorizationServer(twist: Twist = {}) {
  const clients = new Map<string, readonly string[]>();
  const codes = new Map<string, { readonly query: URLSearchParams }>();
  const access = new Map<string, Issued>();
  const refresh = new Map<string, Issued & { used: boolean; family: string }>();
  const dead = new Set<string>();
  const machine = { id: "machine", secret: "machine-secret" };

  function issue({ resource, scope }: Issued, family: string | undefined) {
    const token = `at-${randomUUID()}`;
    access.set(token, { resource, scope });
    if (family === undefined) return { access_token: token, token_type: "Bearer", scope };
    const again = `rt-${randomUUID()}`;
    refresh.set(again, { resource, scope, used: false, family });
    return { access_token: token, token_type: "Bearer", refresh_token: again, scope };
  }

  function exchange(form: URLSearchParams, authorization: string | undefined): unknown {
    const get = (name: string): string => form.get(name) ?? "";
    if (get("grant_type") === "client_credentials") {
      const basic = `Basic ${btoa(`${machine.id}:${machine.secret}`)}`;
      if (authorization !== basic) return { error: "invalid_client" };
      return issue({ resource: get("resource"), scope: get("scope") }, undefined);
    }
    if (get("grant_type") === "refresh_token") {
      const before = refresh.get(get("refresh_token"));
      if (before === undefined || dead.has(before.family)) return { error: "invalid_grant" };
      if (twist.keepsRefreshTokens === true) return issue(before, undefined);
      if (before.used) dead.add(before.family);
      if (before.used || before.resource !== get("resource")) return { error: "invalid_grant" };
      before.used = true;
      return issue(before, before.family);
    }
    const asked = codes.get(get("code"))?.query;
    codes.delete(get("code"));
    const challenge = createHash("sha256").update(get("code_verifier")).digest("base64url");
    const isRight =
      asked !== undefined &&
      challenge === asked.get("code_challenge") &&
      (["client_id", "redirect_uri", "resource"] as const).every((name) => asked.get(name) === get(name));
    if (!isRight) return { error: "invalid_grant" };
    return issue({ resource: get("resource"), scope: asked.get("scope") ?? "" }, randomUUID());
  }

  function authorize(query: URLSearchParams, response: ServerResponse): unknown {
    const redirect = query.get("redirect_uri") ?? "";
    const registered = clients.get(query.get("client_id") ?? "");
    const isS256 = query.get("code_challenge_method") === "S256" && (query.get("code_challenge") ?? "").length === 43;
    if (registered?.includes(redirect) !== true || !isS256 || query.get("response_type") !== "code") {
      return sendJson(response, 400, { error: "invalid_request" });
    }
    const back = new URL(redirect);
    back.searchParams.set("state", query.get("state") ?? "");
    if (twist.iss !== null) back.searchParams.set("iss", twist.iss ?? server.origin);
    if (twist.error === undefined) {
      const code = randomUUID();
      codes.set(code, { query });
      back.searchParams.set("code", code);
    } else {
      back.searchParams.set("error", twist.error);
    }
    return response.writeHead(302, { location: back.href }).end();
  }

  const server = await openLoopback(({ method, path, query, authorization, body }, response) => {
    if (path === "/.well-known/oauth-authorization-server") {
      return sendJson(response, 200, {
        issuer: server.origin,
        authorization_endpoint: `${server.origin}/authorize`,
        token_endpoint: `${server.origin}/token`,
        registration_endpoint: `${server.origin}/register`,
        response_types_supported: ["code"],
        code_challenge_methods_supported: ["S256"],
        token_endpoint_auth_methods_supported: ["none", "client_secret_basic"],
        authorization_response_iss_parameter_supported: true,
        ...twist.metadata,
      });
    }
    if (path === "/authorize") return authorize(query, response);
    if (path === "/register" && method === "POST") {
      const wanted: unknown = JSON.parse(body);
      const uris =
        typeof wanted === "object" && wanted !== null && "redirect_uris" in wanted ? wanted.redirect_uris : [];
      const id = `client-${clients.size + 1}`;
      const known = Array.isArray(uris) ? uris.map(String) : [];
      clients.set(id, known);
      return sendJson(response, 201, { client_id: id, redirect_uris: known, token_endpoint_auth_method: "none" });
    }
    if (path === "/token" && method === "POST") {
      const answer = exchange(new URLSearchParams(body), authorization);
      const isError = typeof answer === "object" && answer !== null && "error" in answer;
      return sendJson(response, isError ? 400 : 200, answer);
    }
    return sendJson(response, 404, {});
  });
  return {
    ...server,
    machine,
    clients,
    /** What a token is good for; undefined once it is not. */
    check: (token: string): Issued | undefined => access.get(token),
    expireAll: () => access.clear(),
    tokenRequests: (): readonly Seen[] => server.seen.filter(({ path }) => path === "/token"),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

export type AuthorizationServer = Awaited<ReturnType<typeof openAuthorizationServer>>;

/** An MCP endpoint that wants a token made for itself by its authorization server, which may change. */
export async function openResource(
  first: AuthorizationServer,
  twist: { scope?: string; metadata?: unknown; challenge?: string } = {},
) {
  const current = { authorizationServer: first };
  const server = await openLoopback(({ path, authorization }, response) => {
    const resource = `${server.origin}/mcp`;
    if (path === "/.well-known/oauth-protected-resource/mcp") {
      const { origin } = current.authorizationServer;
      return sendJson(response, 200, twist.metadata ?? { resource, authorization_servers: [origin] });
    }
    if (path !== "/mcp") return sendJson(response, 404, {});
    const issued = current.authorizationServer.check((authorization ?? "").replace(/^Bearer /, ""));
    if (issued?.resource !== resource) {
      const metadata = twist.challenge ?? `${server.origin}/.well-known/oauth-protected-resource/mcp`;
      return response.writeHead(401, { "www-authenticate": `Bearer resource_metadata="${metadata}"` }).end();
    }
    if (twist.scope !== undefined && !issued.scope.split(" ").includes(twist.scope)) {
      const wanted = `Bearer error="insufficient_scope", scope="${twist.scope}"`;
      return response.writeHead(403, { "www-authenticate": wanted }).end();
    }
    return response.end("served");
  });
  return {
    ...server,
    url: `${server.origin}/mcp`,
    /** The tokens that it was shown. */
    tokens: (): readonly (string | undefined)[] =>
      server.seen.filter(({ path }) => path === "/mcp").map((one) => one.authorization),
    moveTo: (other: AuthorizationServer) => (current.authorizationServer = other),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

import type { IncomingMessage, ServerResponse } from "node:http";

const methods = "GET, POST, DELETE";
/** What clients send in headers. A list of names: `*` would not cover `Authorization`. */
const sent = [
  ...["Authorization", "Content-Type", "Last-Event-ID", "Mcp-Session-Id"],
  ...["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"],
];
/** Arguments that tools want in headers too: only the client knows which. */
const mirrored = /^mcp-param-[\w!#$%&'*+.^`|~-]+$/i;
/** What pages must see to go on with a session, and to learn why they were refused. */
const told = "Mcp-Session-Id, WWW-Authenticate";
/** For how long a browser need not ask again, in seconds; none keeps it longer. */
const keptSeconds = "7200";

/**
 * Lets the page that a request comes from read the answer (Fetch, section 3.3); the guard must have let it through. Gives true where the
 * request is the question that a browser asks before (a preflight): it carries no token, so it is answered here, alike for every path,
 * and does nothing.
 */
export function answerPage({ method, headers }: IncomingMessage, response: ServerResponse): boolean {
  const { origin } = headers;
  if (origin === undefined) return false;
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-expose-headers", told);
  response.setHeader("vary", "Origin");
  if (method !== "OPTIONS" || headers["access-control-request-method"] === undefined) return false;
  const asked = headers["access-control-request-headers"]?.split(",").map((name) => name.trim()) ?? [];
  response.writeHead(204, {
    "access-control-allow-methods": methods,
    "access-control-allow-headers": [...sent, ...asked.filter((name) => mirrored.test(name))].join(", "),
    "access-control-max-age": keptSeconds,
    vary: "Origin, Access-Control-Request-Headers",
  });
  response.end();
  return true;
}

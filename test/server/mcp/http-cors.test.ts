import { describe, expect, test } from "vitest";
import { ServerSettings } from "../../../src/server/config.ts";
import { openHttpServer } from "./http-serve.ts";
import { envelope } from "./peer.ts";

const page = "https://app.example";
const other = "https://evil.example";
const origins = [page, "chrome-extension://abcdef"];

/** What a browser asks before it sends a request of a page. */
function preflight(url: string, origin: string, method = "POST", names = "authorization,content-type") {
  const asked = { "access-control-request-method": method, "access-control-request-headers": names };
  return fetch(url, { method: "OPTIONS", headers: { origin, ...asked } });
}

/** What the answer says to a browser. */
const saidIn = ({ headers }: Response) => [...headers.keys()].filter((name) => name.startsWith("access-control-"));

/** Whether a browser would send what it asked about (Fetch, section 4.8). */
function isLetThrough({ ok, headers }: Response, origin: string, method: string, names: string): boolean {
  const listIn = (name: string) => (headers.get(name) ?? "").split(",").map((entry) => entry.trim());
  const allowed = listIn("access-control-allow-headers").map((name) => name.toLowerCase());
  return (
    ok &&
    headers.get("access-control-allow-origin") === origin &&
    listIn("access-control-allow-methods").includes(method) &&
    names.split(",").every((name) => allowed.includes(name))
  );
}

describe("a preflight", () => {
  const clients: readonly (readonly [string, string, string])[] = [
    ["/mcp", "POST", "authorization,content-type,mcp-method,mcp-name,mcp-param-region,mcp-protocol-version"],
    ["/mcp", "POST", "authorization,content-type,mcp-protocol-version,mcp-session-id"],
    ["/mcp", "GET", "authorization,last-event-id,mcp-protocol-version,mcp-session-id"],
    ["/mcp", "DELETE", "authorization,mcp-protocol-version,mcp-session-id"],
    ["/sse", "GET", "authorization"],
    ["/messages?sessionId=x", "POST", "authorization,content-type"],
    ["/.well-known/oauth-protected-resource/mcp", "GET", "mcp-protocol-version"],
  ];

  test.each(clients)("at %s for %s is let through from a page that is listed, and from no other", async (...asked) => {
    await using server = await openHttpServer({ origins });
    const [path, method, names] = asked;
    const url = server.url + path;
    for (const origin of origins) {
      const lawful = await preflight(url, origin, method, names);
      expect([lawful.status, await lawful.text()]).toEqual([204, ""]);
      expect(isLetThrough(lawful, origin, method, names)).toBe(true);
      expect(lawful.headers.get("vary")).toBe("Origin, Access-Control-Request-Headers");
    }
    for (const origin of [other, "null", `${page}.evil.example`, `${page}:8443`, "http://app.example"]) {
      const refused = await preflight(url, origin, method, names);
      expect([refused.status, saidIn(refused)]).toEqual([403, []]);
    }
  });

  test("names what clients send and nothing else, and never a `*`", async () => {
    await using server = await openHttpServer({ origins });
    const asked = "mcp-param-a,x-forwarded-for,cookie,mcp-param-,mcp-param-b c,*";
    const { headers } = await preflight(`${server.url}/mcp`, page, "PUT", asked);
    expect(headers.get("access-control-allow-headers")).toBe(
      "Authorization, Content-Type, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, mcp-param-a",
    );
    expect(headers.get("access-control-allow-methods")).toBe("GET, POST, DELETE");
    expect(headers.get("access-control-allow-credentials")).toBeNull();
    expect([...headers.values()].filter((value) => value.includes("*"))).toEqual([]);
  });

  test("says the same for every path and token, does nothing and leaves nothing on record", async () => {
    await using server = await openHttpServer({ origins });
    const said = async (path: string, more: Record<string, string> = {}) => {
      const headers = { origin: page, "access-control-request-method": "POST", ...more };
      const answer = await fetch(server.url + path, { method: "OPTIONS", headers });
      return [answer.status, ...[...answer.headers].filter(([name]) => name !== "date")];
    };
    const usual = await said("/mcp");
    const authorization = `Bearer ${server.tokenOf()}`;
    expect(await said("/elsewhere")).toEqual(usual);
    expect(await said("/mcp", { authorization })).toEqual(usual);
    expect(await said("/mcp", { authorization: "Bearer a.b.c", "mcp-session-id": "x" })).toEqual(usual);
    expect(await server.audit()).toEqual([]);
    // An OPTIONS that is none is a request as any other: it needs a token.
    const bare = await fetch(`${server.url}/mcp`, { method: "OPTIONS", headers: { origin: page } });
    expect([bare.status, bare.headers.get("access-control-allow-methods")]).toEqual([401, null]);
  });
});

describe("the answer to a page", () => {
  const call = { name: "echo", arguments: { text: "x" }, _meta: envelope() };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: call });
  const start = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "page", version: "1" } };
  const begin = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "initialize", params: start });
  const modern = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo" };
  const older = { accept: "application/json, text/event-stream" };

  test.each([
    ["a call", "/mcp", body, modern, 200],
    ["the beginning of a session", "/mcp", begin, older, 200],
    ["a stream", "/sse", null, older, 200],
    ["no token", "/mcp", body, { ...modern, authorization: "" }, 401],
    ["another type", "/mcp", body, { ...modern, "content-type": "text/plain" }, 415],
    ["an unknown session", "/messages?sessionId=x", body, older, 404],
    ["the metadata", "/.well-known/oauth-protected-resource/mcp", null, {}, 200],
  ])("can be read by one that is listed, and by no other: %s", async (_what, path, sent, more, status) => {
    await using server = await openHttpServer({ origins });
    const leaving = new AbortController();
    const ask = (origin: string) => {
      const own = { authorization: `Bearer ${server.tokenOf()}`, "content-type": "application/json", origin };
      const method = sent === null ? "GET" : "POST";
      const headers = { ...own, ...more };
      return fetch(server.url + path, { method, headers, body: sent, signal: leaving.signal });
    };
    const lawful = await ask(page);
    expect([lawful.status, lawful.headers.get("access-control-allow-origin")]).toEqual([status, page]);
    expect(lawful.headers.get("access-control-expose-headers")).toBe("Mcp-Session-Id, WWW-Authenticate");
    expect(lawful.headers.get("vary")).toBe("Origin");
    for (const origin of [other, "null"]) {
      const refused = await ask(origin);
      expect([refused.status, saidIn(refused)]).toEqual([403, []]);
    }
    leaving.abort();
  });

  test("says nothing of pages to whoever is none", async () => {
    await using server = await openHttpServer({ origins });
    const headers = { authorization: `Bearer ${server.tokenOf()}`, "content-type": "application/json", ...modern };
    const answer = await fetch(`${server.url}/mcp`, { method: "POST", headers, body });
    expect([answer.status, saidIn(answer)]).toEqual([200, []]);
  });
});

test("an origin that is none is refused by the config, so that none stands for `Origin: null`", () => {
  const read = (...urls: readonly string[]) => ServerSettings.safeParse({ origins: urls }).success;
  for (const url of ["null", "*", "app.example", "file:///home/x.html", "data:text/html,x", "about:blank"]) {
    expect(read(url), url).toBe(false);
  }
  expect(read(page, "http://localhost:5173", "chrome-extension://abcdef", "app://obsidian.md")).toBe(true);
});

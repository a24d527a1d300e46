import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { localScope } from "../../../src/core/scope.ts";
import { pureCases } from "../../support/cases.ts";
import { openHttpServer } from "./http-serve.ts";
import { envelope } from "./peer.ts";

const revision = { "mcp-protocol-version": "2026-07-28" };

/** The body of a modern request. */
function toBody(method: string, params: object = {}, id: number | string = 1) {
  return JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta: envelope() } });
}

const Answered = z.looseObject({
  id: z.unknown(),
  result: z
    .looseObject({ tools: z.array(z.object({ name: z.string() })), structuredContent: z.unknown() })
    .partial()
    .optional(),
  error: z.object({ code: z.number() }).optional(),
});

/** The JSON-RPC answer in a response. */
const answerOf = async (response: Response) => Answered.parse(await response.json());

/** The headers that a modern call sends. */
function toHeaders(token: string, method = "tools/call", name = "echo") {
  const named = method === "tools/call" ? { "mcp-name": name } : {};
  return {
    "content-type": "application/json",
    authorization: `Bearer ${token}`,
    "mcp-method": method,
    ...revision,
    ...named,
  };
}

function post(url: string, headers: Record<string, string>, body: string): Promise<Response> {
  return fetch(`${url}/mcp`, { method: "POST", headers, body });
}

const asks = { name: "asks", arguments: { text: "sampling" } };
const echo = (text: string, id: number | string = 1) => toBody("tools/call", { name: "echo", arguments: { text } }, id);

describe("a request over HTTP", () => {
  test("without a token, or with one that is not good, is answered 401 and where to learn more (B20)", async () => {
    await using server = await openHttpServer();
    const good = toHeaders(server.tokenOf());
    const { authorization, ...none } = good;
    const metadata = `${server.url}/.well-known/oauth-protected-resource/mcp`;
    const bare = await post(server.url, none, echo("x"));
    expect([bare.status, bare.headers.get("www-authenticate")]).toEqual([
      401,
      `Bearer resource_metadata="${metadata}"`,
    ]);
    const refusals = [
      `${authorization}x`,
      "Bearer a.b.c",
      "Bearer ",
      `Basic ${authorization.slice(7)}`,
      authorization.slice(7),
    ];
    for (const wrong of refusals) {
      expect((await post(server.url, { ...none, authorization: wrong }, echo("x"))).status).toBe(401);
    }
    const inUrl = await fetch(`${server.url}/mcp?access_token=${authorization.slice(7)}`, {
      method: "POST",
      headers: none,
    });
    expect(inUrl.status).toBe(401);
    for (const path of ["/sse", "/mcp", "/elsewhere"]) expect((await fetch(server.url + path)).status).toBe(401);
    expect(await (await fetch(metadata)).json()).toMatchObject({ resource: `${server.url}/mcp` });
    expect((await post(server.url, good, echo("x"))).status).toBe(200);
  });

  test("from another page or under another name is refused before anything else (B23)", async () => {
    await using server = await openHttpServer({ origins: ["https://app.example"] });
    const headers = toHeaders(server.tokenOf());
    const statusOf = (over: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        const sent = httpRequest(`${server.url}/mcp`, { method: "POST", headers: { ...headers, ...over } });
        sent.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject);
        sent.end(echo("x"));
      });
    const port = new URL(server.url).port;
    const evil = [
      { host: `evil.test:${port}` },
      { host: "evil.test" },
      { origin: "http://evil.test" },
      { origin: "null" },
    ];
    for (const over of evil) expect(await statusOf(over)).toBe(403);
    expect(await statusOf({ ...evil[0], authorization: "" })).toBe(403);
    const lawful = [{}, { host: `localhost:${port}` }, { origin: "https://app.example" }, { origin: server.url }];
    for (const over of lawful) expect(await statusOf(over)).toBe(200);
  });

  test("beyond the grant is answered 403, what is not listed as unknown; nothing runs (B16, B21)", async () => {
    await using server = await openHttpServer();
    const [right] = server.rightsTo(["move"]);
    if (right === undefined) throw new Error("the test has no tool to narrow");
    const from = { name: "from", rule: { type: "exact", value: "inside" }, optional: false } as const;
    const to = { name: "to", rule: { type: "any" }, optional: true } as const;
    const token = server.tokenOf(server.withRights("narrow", { tools: [{ ...right, args: [from, to] }] }));
    const call = (name: string, args: object) =>
      post(server.url, toHeaders(token, "tools/call", name), toBody("tools/call", { name, arguments: args }));
    const beyond = await call("move", { from: "outside" });
    expect(beyond.status).toBe(403);
    expect(beyond.headers.get("www-authenticate")).toContain('error="insufficient_scope"');
    expect(await beyond.json()).toMatchObject({ id: 1, error: { data: { code: "permission.argument_refused" } } });
    const [hidden, missing] = await Promise.all(["echo", "nosuch"].map(async (name) => (await call(name, {})).json()));
    expect(JSON.stringify(hidden).replace("echo", "nosuch")).toEqual(JSON.stringify(missing));
    expect(missing).toMatchObject({ error: { code: -32602, data: { code: "tool.unknown" } } });
    expect(server.log).toEqual([]);
    expect((await call("move", { from: "inside" })).status).toBe(200);
    expect(server.log).toEqual(["moved inside to here"]);
  });

  test.each([
    ["no JSON", {}, "{", 400, -32700],
    ["two readings", {}, '{"jsonrpc":"2.0","id":1,"id":2}', 400, -32600],
    ["another type", { "content-type": "text/plain" }, echo("x"), 415, -32600],
    ["17 MB", {}, echo("x".repeat(17_000_000)), 413, -32600],
    ["a batch", {}, `[${echo("x")}]`, 400, -32600],
    ["another method in the header", { "mcp-method": "tools/list" }, echo("x"), 400, -32020],
    ["another name in the header", { "mcp-name": "move" }, echo("x"), 400, -32020],
    ["another revision in the header", { "mcp-protocol-version": "2025-11-25" }, echo("x"), 400, -32020],
    ["a malformed encoded name", { "mcp-name": "=?base64?%%?=" }, echo("x"), 400, -32020],
    ["an unknown method", { "mcp-method": "no/such" }, toBody("no/such"), 404, -32601],
    ["a missing capability", { "mcp-name": "asks" }, toBody("tools/call", asks), 400, -32021],
  ])("with %s is answered in its terms, and the next is served", async (_what, over, body, status, code) => {
    await using server = await openHttpServer();
    const headers = toHeaders(server.tokenOf());
    const answer = await post(server.url, { ...headers, ...over }, body);
    const text = await answer.text();
    expect(answer.status).toBe(status);
    expect(text).toMatch(new RegExp(`"error":\\{"code":${code},"message":"[^"]`));
    const encoded = `=?base64?${Buffer.from("echo").toString("base64")}?=`;
    expect((await post(server.url, { ...headers, "mcp-name": encoded }, echo("x"))).status).toBe(200);
  });

  test("that is no message is told so, and one that begins nothing how to begin", async () => {
    await using server = await openHttpServer();
    const { "mcp-protocol-version": _revision, ...headers } = toHeaders(server.tokenOf());
    const told = async (body: string) => (await post(server.url, headers, body)).text();
    for (const body of [`[${echo("x")}]`, "5", "null", '{"jsonrpc":"2.0","id":null,"method":"ping"}'])
      expect(await told(body)).toContain("The body is no JSON-RPC 2.0 message of MCP. Batches");
    expect(await told('{"jsonrpc":"2.0","id":1,"method":"ping"}')).toContain("Begin with initialize");
    const bad = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":5}}';
    expect(await told(bad)).toContain(
      '"id":1,"error":{"code":-32602,"message":"The params of initialize must be {protocolVersion',
    );
  });

  test("whose client goes away while it sends leaves nothing behind", async () => {
    await using server = await openHttpServer();
    const { hostname, port, host } = new URL(server.url);
    const headers = Object.entries({ host, ...toHeaders(server.tokenOf()), "content-length": 1_000 });
    const socket = connect(Number(port), hostname);
    socket.write(
      `POST /mcp HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n{"jsonrpc"`,
    );
    await expect.poll(server.counts).toMatchObject({ requests: 1 });
    socket.destroy();
    await expect.poll(server.counts).toMatchObject({ requests: 0 });
    expect(server.faults).toEqual([]);
    expect((await post(server.url, toHeaders(server.tokenOf()), echo("x"))).status).toBe(200);
  });

  test("may narrow its token by another in its _meta, and never widen it", async () => {
    await using server = await openHttpServer();
    const both = server.tokenOf(server.withRights("both", { tools: server.rightsTo(["echo", "steps"]) }));
    const one = server.tokenOf(server.withRights("one", { tools: server.rightsTo(["echo", "move"]) }));
    const body = JSON.parse(toBody("tools/list"));
    body.params["_meta"]["dev.capstan/grant"] = one;
    const answer = await post(server.url, toHeaders(both, "tools/list"), JSON.stringify(body));
    const { result } = await answerOf(answer);
    expect(result?.tools?.map(({ name }) => name)).toEqual(["echo"]);
  });
});

describe("clients beside each other over HTTP", () => {
  test("get their own answers under colliding ids (B25)", async () => {
    await using server = await openHttpServer();
    const tokens = ["a", "b"].map((id) => server.tokenOf(server.withRights(id, { tools: server.rightsTo(["echo"]) })));
    const crossed: string[] = [];
    // Twenty of each client at a time, under the same ids.
    const ids = [...Array(20).keys()];
    const rounds = Math.ceil(pureCases / (tokens.length * ids.length));
    for (let round = 0; round < rounds; round += 1) {
      await Promise.all(
        tokens.flatMap((token, client) =>
          ids.map(async (id) => {
            const text = `${client} ${round} ${id}`;
            const { id: answered, result } = await answerOf(await post(server.url, toHeaders(token), echo(text, id)));
            if (answered !== id || JSON.stringify(result?.structuredContent) !== JSON.stringify({ text }))
              crossed.push(text);
          }),
        ),
      );
    }
    expect(crossed).toEqual([]);
    const rows = (await server.audit()).map(({ entry }) => entry.grantId);
    const each = rounds * ids.length;
    expect([rows.filter((id) => id === "a").length, rows.filter((id) => id === "b").length]).toEqual([each, each]);
  });

  test("can't use a session of another user: it is not there (B24)", async () => {
    await using server = await openHttpServer();
    const mallory = { org: "local", user: "mallory" };
    const epoch = server.permissions.epoch(mallory);
    const theirs = server.tokenOf({ ...server.grant, id: "theirs", principal: mallory, scope: localScope, epoch });
    const renewed = server.tokenOf({ ...server.grant, id: "renewed" });
    const send = (token: string, session: string | null, method: string, params: object) => {
      const accept = "application/json, text/event-stream";
      const own = session === null ? {} : { "mcp-session-id": session };
      const headers = { "content-type": "application/json", accept, authorization: `Bearer ${token}`, ...own };
      return post(server.url, headers, JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));
    };
    const start = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
    const opened = await send(server.tokenOf(), null, "initialize", start);
    const session = opened.headers.get("mcp-session-id");
    await opened.text();
    const call = { name: "echo", arguments: { text: "x" } };
    const stolen = await send(theirs, session, "tools/call", call);
    const unknown = await send(theirs, "no-such-session", "tools/call", call);
    expect([stolen.status, await stolen.text()]).toEqual([404, await unknown.text()]);
    expect(await (await send(renewed, session, "tools/call", call)).text()).toContain('"text":"x"');
    const rows = (await server.audit()).map(({ entry }) => entry.grantId);
    expect(rows).toEqual(["renewed"]);
  });
});

describe("the end of a server", () => {
  test("lets a call in flight finish, ends subscriptions, and accepts nothing new", async () => {
    await using server = await openHttpServer();
    const token = server.tokenOf();
    const running = post(server.url, toHeaders(token, "tools/call", "steps"), toBody("tools/call", { name: "steps" }));
    const listening = await post(
      server.url,
      toHeaders(token, "subscriptions/listen"),
      toBody("subscriptions/listen", { notifications: {} }),
    );
    await expect.poll(() => server.log).toContain("steps began");
    server.stop();
    await server.closed;
    expect(await (await running).text()).toContain('{"steps":40}');
    expect(await listening.text()).toContain("notifications/subscriptions/acknowledged");
    await expect(post(server.url, toHeaders(token), echo("x"))).rejects.toThrow("fetch failed");
  });

  test("lets a call in flight of a session finish", async () => {
    await using server = await openHttpServer();
    const headers = {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      authorization: `Bearer ${server.tokenOf()}`,
    };
    const send = (method: string, params: object, session: object = {}) =>
      post(server.url, { ...headers, ...session }, JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));
    const start = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
    const opened = await send("initialize", start);
    await opened.text();
    const running = send(
      "tools/call",
      { name: "steps" },
      { "mcp-session-id": opened.headers.get("mcp-session-id") ?? "" },
    );
    await expect.poll(() => server.log).toContain("steps began");
    server.stop();
    expect(await (await running).text()).toContain('{"steps":40}');
    await server.closed;
  });
});

import { expect, test } from "vitest";
import { observe } from "../../host/telemetry/recorded.ts";
import { type Line, recording } from "../../host/telemetry/records.ts";
import { openOlder } from "./http-older.ts";
import { openHttpServer } from "./http-serve.ts";
import { envelope } from "./peer.ts";
import { openTestServer } from "./serve.ts";

const inShort = ({ level, name, tool, transport, action, status, code }: Line): string =>
  [level, name, tool, transport, action, status, code].filter((word) => word !== undefined).join(" ");

test("a connection on stdio and each of its calls leave a record, with what they ran under and how they ended", async () => {
  const { logger, ...log } = await recording();
  {
    await using server = await openTestServer({ logger });
    const tools = server.grant.rights.tools.map((right) => ({ ...right, ask: right.name === "logs" }));
    const client = server.connect({ ...server.grant, id: "grant_1", rights: { ...server.grant.rights, tools } });
    await client.initialize();
    await client.call("echo", { text: "swordfish" });
    await client.call("fails", { text: "swordfish" });
    await client.call("echo", { swordfish: 1 });
    await client.call("swordfish", { text: "swordfish" });
    await client.call("logs", {});
    await client.call("echo", { text: "x" }, { "dev.capstan/grant": "swordfish" });
    await client.request("resources/read", { uri: "test://swordfish" });
  }
  const records = await log.records();
  expect(records.map(inShort)).toEqual([
    "info connection_opened stdio",
    "info tool_execution echo done",
    "error tool_execution fails failed core.internal",
    "warn tool_execution echo refused tool.bad_arguments",
    "warn tool_execution unknown refused tool.unknown",
    "info tool_execution logs waiting permission.approval_needed",
    "warn request_refused tools/call token.malformed",
    "warn resource_read refused resource.unknown",
    "info connection_closed stdio",
  ]);
  expect(records[1]).toMatchObject({ grantId: "grant_1", ms: expect.any(Number) });
  expect(await log.text()).not.toContain("swordfish");
});

test("over HTTP each session and each request without a good token leaves a record too", async () => {
  const { logger, ...log } = await recording();
  {
    await using server = await openHttpServer({ logger });
    const token = server.tokenOf();
    const older = openOlder(server.url);
    const session = await older.begin(token);
    await (await older.post(token, session, { id: 1, method: "tools/call", params: { name: "echo" } })).text();
    const headers = { authorization: `Bearer ${token}`, "mcp-session-id": session };
    await fetch(`${server.url}/mcp`, { method: "DELETE", headers });
    (await older.beginSse(token)).leave();
    await fetch(`${server.url}/mcp`, { method: "POST", headers: { authorization: "Bearer swordfish" } });
    const body = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "echo", _meta: envelope() } };
    const named = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo" };
    await fetch(`${server.url}/mcp`, {
      method: "POST",
      headers: { ...named, "content-type": "application/json", authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    });
  }
  const told = (await log.records()).map(inShort);
  expect(told.filter((line) => !line.includes("sse"))).toEqual([
    "info connection_opened http",
    "info tool_execution echo done",
    "info connection_closed http",
    "warn request_refused http token.malformed",
    "info tool_execution echo done",
  ]);
  expect(told.filter((line) => line.includes("sse"))).toEqual([
    "info connection_opened sse",
    "info connection_closed sse",
  ]);
  expect(await log.text()).not.toContain("swordfish");
});

test("a call names the trace that its client named", async () => {
  await using _ = observe();
  const { logger, ...log } = await recording();
  await using server = await openTestServer({ logger });
  const client = server.connect();
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  await client.call("echo", { text: "x" }, { ...envelope(), traceparent: `00-${traceId}-b7ad6b7169203331-01` });
  const [, call] = await log.records();
  expect(call).toMatchObject({ name: "tool_execution", trace_id: traceId });
});

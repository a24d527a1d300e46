import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { describe, expect, test } from "vitest";
import { openHttpServer } from "./http-serve.ts";

const identity = { name: "test", version: "1" };
const capabilities = { elicitation: {} };
const yes = { action: "accept" as const, content: { approve: true } };
const inspector = join(import.meta.dirname, "../../../node_modules/.bin/mcp-inspector");

/** A server whose grant asks before each move, and the headers that present it. */
async function openAsking() {
  const server = await openHttpServer();
  const tools = server.rightsTo(["echo", "move", "steps"]).map((right) => ({ ...right, ask: right.name === "move" }));
  const token = server.tokenOf(server.withRights("asks", { tools }));
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  return { server, token, requestInit, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

const move = { name: "move", arguments: { from: "a" } };
const moved = { from: "a", to: "here" };

describe("the official clients over HTTP", () => {
  test.each(["legacy", "auto"] as const)("of the second SDK, era %s, list, call, follow and approve", async (mode) => {
    await using asking = await openAsking();
    const client = new Client(identity, { capabilities, versionNegotiation: { mode } });
    client.setRequestHandler("elicitation/create", () => yes);
    const { requestInit, server } = asking;
    await client.connect(new StreamableHTTPClientTransport(new URL(`${server.url}/mcp`), { requestInit }));
    expect(client.getNegotiatedProtocolVersion()).toBe(mode === "auto" ? "2026-07-28" : "2025-11-25");
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo", "move", "steps"]);
    const steps: unknown[] = [];
    await client.callTool({ name: "steps", arguments: {} }, { onprogress: (step) => steps.push(step) });
    expect(steps.length).toBeGreaterThan(2);
    expect((await client.callTool(move)).structuredContent).toEqual(moved);
    expect(server.log).toContain("moved a to here");
    await client.close();
  });

  test.each([
    ["sessions", (url: string, requestInit: RequestInit) => new TransportV1(new URL(`${url}/mcp`), { requestInit })],
    [
      "HTTP+SSE",
      (url: string, requestInit: RequestInit) => {
        const headers = new Headers(requestInit.headers);
        const eventSourceInit = { fetch: (to: string | URL, init?: RequestInit) => fetch(to, { ...init, headers }) };
        return new SSEClientTransport(new URL(`${url}/sse`), { requestInit, eventSourceInit });
      },
    ],
  ])("of the first SDK by %s list, call and approve", async (_leg, toTransport) => {
    await using asking = await openAsking();
    const client = new ClientV1(identity, { capabilities });
    client.setRequestHandler(ElicitRequestSchema, () => yes);
    await client.connect(toTransport(asking.server.url, asking.requestInit));
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo", "move", "steps"]);
    expect((await client.callTool(move)).structuredContent).toEqual(moved);
    await client.close();
  });

  test.each(["http", "sse"])("the Inspector's command line by %s lists and calls", async (transport) => {
    await using asking = await openAsking();
    const { url } = asking.server;
    const where = ["--transport", transport, "--server-url", `${url}/${transport === "http" ? "mcp" : "sse"}`];
    const header = ["--header", `Authorization: Bearer ${asking.token}`];
    const run = (...args: readonly string[]) =>
      promisify(execFile)(process.execPath, [inspector, "--cli", ...where, ...header, ...args], { timeout: 60_000 });
    expect((await run("--method", "tools/list")).stdout).toContain('"echo"');
    const called = await run("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi");
    expect(called.stdout).toContain("hi");
  });
});

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport as StdioV1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport as HttpV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { describe, expect, onTestFinished, test } from "vitest";
import { changingSource } from "./changing.ts";
import { openHttpServer } from "./http-serve.ts";

const identity = { name: "test", version: "1" };
const fixture = join(import.meta.dirname, "changing-fixture.ts");
const command = { command: process.execPath, args: [fixture], stderr: "ignore" as const };

/** A client that has asked to hear of tools and of `live://a`. */
interface Hearing {
  /** `tools`, or the URI that was updated. */
  readonly heard: readonly string[];
  call(name: string, args?: Record<string, unknown>): Promise<unknown>;
  /** Hears no more of `live://a`, or, by subscription, of anything. */
  unsubscribe(): Promise<unknown>;
  subscribe(): Promise<unknown>;
  close(): Promise<void>;
}

type TransportV1 = Parameters<ClientV1["connect"]>[0];
type TransportV2 = Parameters<Client["connect"]>[0];

async function hearV1(transport: TransportV1): Promise<Hearing> {
  const client = new ClientV1(identity);
  const heard: string[] = [];
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void heard.push("tools"));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void heard.push(params.uri));
  await client.connect(transport);
  await client.subscribeResource({ uri: "live://a" });
  return {
    heard,
    call: (name, args = {}) => client.callTool({ name, arguments: args }),
    unsubscribe: () => client.unsubscribeResource({ uri: "live://a" }),
    subscribe: () => client.subscribeResource({ uri: "live://a" }),
    async close() {
      if (transport instanceof HttpV1) await transport.terminateSession();
      await client.close();
    },
  };
}

async function hearV2(transport: TransportV2, mode: "legacy" | "auto"): Promise<Hearing> {
  const client = new Client(identity, { versionNegotiation: { mode } });
  const heard: string[] = [];
  client.setNotificationHandler("notifications/tools/list_changed", () => void heard.push("tools"));
  client.setNotificationHandler("notifications/resources/updated", ({ params }) => void heard.push(params.uri));
  await client.connect(transport);
  const uri = "live://a";
  const listen = () => client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
  let listening = mode === "auto" ? await listen() : undefined;
  if (mode === "legacy") await client.subscribeResource({ uri });
  return {
    heard,
    call: (name, args = {}) => client.callTool({ name, arguments: args }),
    unsubscribe: async () => await (listening?.close() ?? client.unsubscribeResource({ uri })),
    async subscribe() {
      if (listening === undefined) await client.subscribeResource({ uri });
      else listening = await listen();
    },
    async close() {
      if (mode === "legacy" && transport instanceof StreamableHTTPClientTransport) await transport.terminateSession();
      await client.close();
    },
  };
}

/** A server over HTTP, and what presents a token to it. */
async function openHttp() {
  const changing = changingSource();
  const server = await openHttpServer({ sources: [changing.source], more: changing.more });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const rights = {
    tools: server.rightsTo(["toggle", "touch"]),
    resources: [{ type: "uri" as const, under: "live://" }],
  };
  const headers = { authorization: `Bearer ${server.tokenOf(server.withRights("hears", rights))}` };
  return { changing, server, requestInit: { headers }, mcp: new URL(`${server.url}/mcp`) };
}

type Http = Awaited<ReturnType<typeof openHttp>>;

function toSse({ server, requestInit }: Http): SSEClientTransport {
  const eventSourceInit = {
    fetch: (to: string | URL, init?: RequestInit) => fetch(to, { ...init, headers: requestInit.headers }),
  };
  return new SSEClientTransport(new URL(`${server.url}/sse`), { requestInit, eventSourceInit });
}

/** Changes the tools, another resource, the one that is followed, and that once more when it isn't; gives what was heard. */
async function changeAll(hearing: Hearing): Promise<readonly string[]> {
  await hearing.call("toggle");
  await expect.poll(() => hearing.heard).toEqual(["tools"]);
  await hearing.call("touch", { text: "live://b" });
  await hearing.call("touch", { text: "live://a" });
  await expect.poll(() => hearing.heard).toEqual(["tools", "live://a"]);
  await hearing.unsubscribe();
  await hearing.call("touch", { text: "live://a" });
  await sleep(250);
  return hearing.heard;
}

describe("an official client", () => {
  test.each([
    ["v1", () => hearV1(new StdioV1(command))],
    ["v2, told to use initialize,", () => hearV2(new StdioClientTransport(command), "legacy")],
    ["v2, finding the era itself,", () => hearV2(new StdioClientTransport(command), "auto")],
  ])("%s hears from a server process what changed", async (_name, hear) => {
    const hearing = await hear();
    onTestFinished(() => hearing.close());
    expect(await changeAll(hearing)).toEqual(["tools", "live://a"]);
  });

  test.each([
    ["v1 in a session", ({ mcp, requestInit }: Http) => hearV1(new HttpV1(mcp, { requestInit }))],
    ["v1 on HTTP+SSE", (http: Http) => hearV1(toSse(http))],
    [
      "v2 in a session",
      ({ mcp, requestInit }: Http) => hearV2(new StreamableHTTPClientTransport(mcp, { requestInit }), "legacy"),
    ],
    [
      "v2 by subscription",
      ({ mcp, requestInit }: Http) => hearV2(new StreamableHTTPClientTransport(mcp, { requestInit }), "auto"),
    ],
  ])("%s hears over HTTP what changed, and leaves nothing behind", async (_name, hear) => {
    const http = await openHttp();
    const hearing = await hear(http);
    expect([http.changing.heard(), http.server.listening()]).toEqual([1, 1]);
    expect(await changeAll(hearing)).toEqual(["tools", "live://a"]);
    expect(http.changing.heard()).toBe(0);
    await hearing.subscribe();
    expect([http.changing.heard(), http.server.listening()]).toEqual([1, 1]);
    await hearing.close();
    await expect.poll(() => [http.changing.heard(), http.server.listening()]).toEqual([0, 0]);
  });
});

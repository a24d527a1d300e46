import { Client } from "@modelcontextprotocol/client";
import type { CallToolResult } from "@modelcontextprotocol/server";
import { InMemoryTransport, Server } from "@modelcontextprotocol/server";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport as TransportV1 } from "@modelcontextprotocol/sdk/inMemory.js";
import { Server as ServerV1 } from "@modelcontextprotocol/sdk/server/index.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { toCallResult } from "../../src/server/mcp/result.ts";
import { toWireTool } from "../../src/server/mcp/wire-tool.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { toLinked } from "../../src/tools/large-result.ts";
import { fromZod } from "../../src/tools/schema.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { testTool, toGrant } from "../support/door.ts";

const rows = testTool("rows", { output: fromZod(z.strictObject({ rows: z.array(z.int()) })) });
const tools = [toWireTool(rows)];
const capabilities = { capabilities: { tools: {} } };
const identity = { name: "test", version: "1" };

/** What a client makes of a result of `rows`, whose output schema it has listed before. */
const clients = [
  {
    name: "v1",
    call: async (result: CallToolResult): Promise<object> => {
      const server = new ServerV1(identity, capabilities);
      server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: JSON.parse(JSON.stringify(tools)) }));
      server.setRequestHandler(CallToolRequestSchema, () => JSON.parse(JSON.stringify(result)));
      const client = new ClientV1(identity);
      const [near, far] = TransportV1.createLinkedPair();
      await Promise.all([server.connect(far), client.connect(near)]);
      await client.listTools();
      try {
        return await client.callTool({ name: "rows" });
      } finally {
        await client.close();
      }
    },
  },
  {
    name: "v2",
    call: async (result: CallToolResult): Promise<object> => {
      const server = new Server(identity, capabilities);
      server.setRequestHandler("tools/list", () => ({ tools }));
      server.setRequestHandler("tools/call", () => result);
      const client = new Client(identity);
      const [near, far] = InMemoryTransport.createLinkedPair();
      await Promise.all([server.connect(far), client.connect(near)]);
      await client.listTools();
      try {
        return await client.callTool({ name: "rows", arguments: {} });
      } finally {
        await client.close();
      }
    },
  },
] as const;

describe.each(clients)("a large result at the official client $name", ({ call }) => {
  const value = { rows: Array.from({ length: 50_000 }, (_, index) => index) };

  async function link(hasOutputSchema: boolean): Promise<CallToolResult> {
    await using opened = await openTestArtifacts();
    const owner = { scope: localScope, principal: localPrincipal, grant: toGrant([], 0, 0) };
    const { artifacts } = opened;
    const keeping = { artifacts, owner, callId: "c", name: "rows", taint: [], maxTextBytes: 10_000 };
    return toCallResult(
      await toLinked({ type: "done", value }, { ...keeping, tool: hasOutputSchema ? rows : undefined }),
    );
  }

  test("arrives with its links, and is thrown away where it were no error", async () => {
    const linked = await link(true);
    expect(await call(linked)).toMatchObject({
      isError: true,
      content: [{ type: "text" }, { type: "resource_link", mimeType: "application/json" }],
    });
    await expect(call(await link(false))).rejects.toThrow("has an output schema but did not return structured content");
    expect(await call(toCallResult({ type: "done", value }))).toMatchObject({ structuredContent: value });
  });
});

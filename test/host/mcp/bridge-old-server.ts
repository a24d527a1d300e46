import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js";
import {
  ResultSchema,
  type ServerNotification,
  type ServerRequest,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod";
import { form, type Kind, kinds, sampling, url } from "./bridge-asked.ts";

// A server of 2025-11-25, written with the first SDK: it pushes its questions while a call is open. It speaks on stdio, or at the port
// that it is given, and says then where. bridge-new-server.ts is its twin.

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>;

const requests: Readonly<Record<Kind, ServerRequest>> = {
  form: { method: "elicitation/create", params: form },
  url: { method: "elicitation/create", params: url },
  sampling: { method: "sampling/createMessage", params: sampling },
  roots: { method: "roots/list" },
};
const say = (value: unknown) => ({ content: [{ type: "text" as const, text: JSON.stringify(value) }] });
const seen = { open: 0, cancelled: 0, mails: 0, watched: [] as string[] };

const harmless = { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false };

async function ask(kind: Kind, { sendRequest }: Extra): Promise<readonly [Kind, unknown]> {
  return [kind, await sendRequest(requests[kind], ResultSchema).catch((error: unknown) => ({ failed: String(error) }))];
}

function open(): McpServer {
  const server = new McpServer(
    { name: "old", version: "1" },
    { capabilities: { logging: {}, resources: { subscribe: true, listChanged: true } } },
  );

  server.registerTool("who", {}, () => say({ pid: process.pid, seen }));

  server.registerTool(
    "ask",
    { inputSchema: { kinds: z.array(z.enum(kinds)), rounds: z.int() } },
    async (args, extra) => {
      const told: unknown[] = [];
      seen.open += 1;
      extra.signal.addEventListener("abort", () => (seen.cancelled += 1));
      for (let round = 0; round < args.rounds; round += 1) {
        told.push(Object.fromEntries(await Promise.all(args.kinds.map((kind) => ask(kind, extra)))));
      }
      seen.open -= 1;
      return say(told);
    },
  );

  server.registerTool("steps", { inputSchema: { steps: z.int() } }, async ({ steps }, { _meta, sendNotification }) => {
    const { progressToken } = _meta ?? {};
    for (let step = 1; step <= steps; step += 1) {
      await sendNotification({
        method: "notifications/message",
        params: { level: "warning", logger: "stove", data: { step } },
      });
      if (progressToken === undefined) continue;
      const params = { progressToken, progress: step, total: steps, message: `step ${step}` };
      await sendNotification({ method: "notifications/progress", params });
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
    return say("done");
  });

  server.registerTool("hang", {}, async ({ signal }) => {
    seen.open += 1;
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    seen.open -= 1;
    seen.cancelled += 1;
    return say("nobody hears this");
  });

  server.registerTool("mail", { inputSchema: { to: z.string() }, annotations: harmless }, ({ to }) => {
    seen.mails += 1;
    return say(`sent to ${to}`);
  });

  server.registerTool("grow", {}, () => {
    server.registerTool("late", {}, () => say("late"));
    server.registerPrompt("late", {}, () => ({ messages: [] }));
    server.registerResource("late", "note://late", {}, () => ({ contents: [] }));
    return say("grown");
  });

  server.registerTool("touch", { inputSchema: { uri: z.string() } }, async (params) => {
    await server.server.sendResourceUpdated(params);
    return say("touched");
  });

  server.registerPrompt("hello", { argsSchema: { name: z.string() } }, ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Hello ${name}` } }],
  }));
  server.registerPrompt("asks", { argsSchema: {} }, async (_args, extra) => {
    const [, answer] = await ask("form", extra);
    return { messages: [{ role: "user", content: { type: "text", text: JSON.stringify(answer) } }] };
  });
  server.registerResource("a", "note://a", {}, () => ({ contents: [{ uri: "note://a", text: "old" }] }));
  server.registerResource("asks", "note://asks", {}, async (_uri, extra) => {
    const [, answer] = await ask("form", extra);
    return { contents: [{ uri: "note://asks", text: JSON.stringify(answer) }] };
  });
  server.server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    seen.watched.push(params.uri);
    return {};
  });
  server.server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    seen.watched = seen.watched.filter((uri) => uri !== params.uri);
    return {};
  });
  return server;
}

const [, , port] = process.argv;
if (port === undefined) await open().connect(new StdioServerTransport());
else serveSessions(Number(port));

/** At a port, with a session for each client. */
function serveSessions(at: number): void {
  const sessions = new Map<unknown, StreamableHTTPServerTransport>();
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  server.listen(at, "127.0.0.1", () => process.stdout.write(`${JSON.stringify(server.address())}\n`));

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const known = sessions.get(request.headers["mcp-session-id"]);
    if (known !== undefined) return await known.handleRequest(request, response);
    const transport: StreamableHTTPServerTransport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
    });
    await open().connect(transport);
    await transport.handleRequest(request, response);
  }
}

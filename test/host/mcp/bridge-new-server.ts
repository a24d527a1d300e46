import { createServer } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import {
  createMcpHandler,
  inputRequired,
  McpServer,
  type ServerContext,
  type ServerNotifier,
} from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";
import { form, type Kind, kinds, sampling, url } from "./bridge-asked.ts";

// A server of 2026-07-28, written with the second SDK: its questions are results. It speaks on stdio, or at
// the port that it is given, and says then where. bridge-old-server.ts is its twin.

const requests = {
  form: () => inputRequired.elicit(form),
  url: () => inputRequired.elicitUrl({ message: url.message, url: url.url }),
  sampling: () => inputRequired.createMessage(sampling),
  roots: () => inputRequired.listRoots(),
};
const say = (value: unknown) => ({ content: [{ type: "text" as const, text: JSON.stringify(value) }] });
const seen = { open: 0, cancelled: 0, mails: 0 };
const harmless = { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false };

/** What was told in the rounds before is kept in the state, as text. */
function ask(wanted: readonly Kind[], rounds: number, { mcpReq }: ServerContext) {
  const before: unknown[] = JSON.parse(mcpReq.requestState<string>() ?? "[]");
  const told = mcpReq.inputResponses === undefined ? before : [...before, mcpReq.inputResponses];
  if (told.length === rounds) return told;
  const inputRequests = Object.fromEntries(wanted.map((kind) => [kind, requests[kind]()]));
  return inputRequired({ inputRequests, requestState: JSON.stringify(told) });
}

let hasGrown = false;

/** Over HTTP each request has a server of its own, and what changed is told by `changes`. */
function open(changes?: ServerNotifier): McpServer {
  const server = new McpServer(
    { name: "new", version: "1" },
    { capabilities: { logging: {}, resources: { subscribe: true, listChanged: true } } },
  );
  server.registerTool("who", {}, () => say({ pid: process.pid, seen }));

  server.registerTool(
    "ask",
    { inputSchema: z.object({ kinds: z.array(z.enum(kinds)), rounds: z.int() }) },
    (args, context) => {
      const asked = ask(args.kinds, args.rounds, context);
      return Array.isArray(asked) ? say(asked) : asked;
    },
  );

  server.registerTool("steps", { inputSchema: z.object({ steps: z.int() }) }, async ({ steps }, { mcpReq }) => {
    const { _meta: meta } = mcpReq;
    for (let step = 1; step <= steps; step += 1) {
      await mcpReq.log("warning", { step }, "stove");
      if (meta?.progressToken === undefined) continue;
      const params = { progressToken: meta.progressToken, progress: step, total: steps, message: `step ${step}` };
      await mcpReq.notify({ method: "notifications/progress", params });
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
    return say("done");
  });

  server.registerTool("hang", {}, async ({ mcpReq }) => {
    seen.open += 1;
    await new Promise((resolve) => mcpReq.signal.addEventListener("abort", resolve));
    seen.open -= 1;
    seen.cancelled += 1;
    return say("nobody hears this");
  });

  server.registerTool("mail", { inputSchema: z.object({ to: z.string() }), annotations: harmless }, ({ to }) => {
    seen.mails += 1;
    return say(`sent to ${to}`);
  });

  const grow = (): void => {
    server.registerTool("late", {}, () => say("late"));
    server.registerPrompt("late", {}, () => ({ messages: [] }));
    server.registerResource("late", "note://late", {}, () => ({ contents: [] }));
  };
  if (hasGrown) grow();
  server.registerTool("grow", {}, () => {
    hasGrown = true;
    if (changes === undefined) grow();
    changes?.toolsChanged();
    changes?.promptsChanged();
    changes?.resourcesChanged();
    return say("grown");
  });

  server.registerTool("touch", { inputSchema: z.object({ uri: z.string() }) }, async (params) => {
    if (changes === undefined) await server.server.sendResourceUpdated(params);
    changes?.resourceUpdated(params.uri);
    return say("touched");
  });

  server.registerPrompt("hello", { argsSchema: z.object({ name: z.string() }) }, ({ name }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Hello ${name}` } }],
  }));
  server.registerPrompt("asks", {}, (context) => {
    const asked = ask(["form"], 1, context);
    if (!Array.isArray(asked)) return asked;
    return { messages: [{ role: "user", content: { type: "text", text: JSON.stringify(asked) } }] };
  });
  server.registerResource("a", "note://a", {}, () => ({ contents: [{ uri: "note://a", text: "new" }] }));
  server.registerResource("asks", "note://asks", {}, (_uri, context) => {
    const asked = ask(["form"], 1, context);
    return Array.isArray(asked) ? { contents: [{ uri: "note://asks", text: JSON.stringify(asked) }] } : asked;
  });
  return server;
}

const [, , port] = process.argv;
if (port === undefined) serveStdio(() => open(), { legacy: "reject" });
else {
  const handler = createMcpHandler(() => open(handler.notify), { legacy: "reject" });
  const answer = toNodeHandler(handler);
  const server = createServer((request, response) => {
    const { method = "GET", url: path = "/" } = request;
    answer(Object.assign(request, { method, url: path }), response).catch(() => response.destroy());
  });
  server.listen(Number(port), "127.0.0.1", () => process.stdout.write(`${JSON.stringify(server.address())}\n`));
}

// The peer of `capstan serve`: `node bare-server.js low|high TOOLS`. It lists the tools of a JSON file (an array as in the answer to
// tools/list) and answers every call with its own arguments, on the same SDK. No grants, no ledger, no audit, nothing on disk. `low` is
// the SDK's Server with two handlers, `high` its McpServer with registerTool. Plain JavaScript: it has no types to strip.
import { readFileSync } from "node:fs";
import { fromJsonSchema, McpServer, Server } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

const [flavour, file] = process.argv.slice(2);
const tools = JSON.parse(readFileSync(file, "utf8"));
const info = { name: "bare", version: "1.0.0" };
const answer = (args) => ({ content: [{ type: "text", text: JSON.stringify(args) }], structuredContent: args });

function toLowServer() {
  const server = new Server(info, { capabilities: { tools: {} } });
  server.setRequestHandler("tools/list", () => ({ tools }));
  server.setRequestHandler("tools/call", ({ params }) => answer(params.arguments ?? {}));
  return server;
}

function toHighServer() {
  const server = new McpServer(info);
  for (const { name, title, description, inputSchema, outputSchema, annotations } of tools) {
    const schemas = { inputSchema: fromJsonSchema(inputSchema), outputSchema: fromJsonSchema(outputSchema) };
    server.registerTool(name, { title, description, annotations, ...schemas }, answer);
  }
  return server;
}

serveStdio(flavour === "high" ? toHighServer : toLowServer);

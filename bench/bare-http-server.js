// The peer of `capstan serve --http`: `node bare-http-server.js TOOLS`. It lists the tools of a JSON file and answers every call with its own
// arguments, by the SDK's own handler of revision 2026-07-28 over its low-level Server. No tokens, no grants, no ledger, nothing on disk.
// Prints the URL as JSON and ends when stdin closes.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, Server } from "@modelcontextprotocol/server";

const tools = JSON.parse(readFileSync(process.argv[2], "utf8"));
const answer = (args) => ({ content: [{ type: "text", text: JSON.stringify(args) }], structuredContent: args });

function toServer() {
  const server = new Server({ name: "bare", version: "1.0.0" }, { capabilities: { tools: {} } });
  server.setRequestHandler("tools/list", () => ({ tools }));
  server.setRequestHandler("tools/call", ({ params }) => answer(params.arguments ?? {}));
  return server;
}

const server = createServer(toNodeHandler(createMcpHandler(toServer, { legacy: "reject" })));
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/mcp`, token: "none" }));
});
process.stdin.on("end", () => process.exit(0)).resume();

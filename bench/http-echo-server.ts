import { writeFileSync } from "node:fs";
import { toWireTool } from "../src/server/mcp/wire-tool.ts";
import { serveHttp } from "../src/server/mcp/http/http.ts";
import { echoTool, openBenchApp, toBenchGrant } from "./home.ts";

// `node http-echo-server.ts HOME TOOLS FILE`: our server over HTTP with so many echo tools, through the whole door, ledger and audit on. Writes
// the tools as tools/list shows them to FILE, prints its URL and a token as JSON, and ends when stdin closes.
const [home = "", count = "0", file = ""] = process.argv.slice(2);
const more = Array.from({ length: Number(count) - 1 }, (_, index) => echoTool(`echo_${index + 2}`, "read"));
await using app = await openBenchApp(home, {}, more);
const { door, permissions, store } = app;
const ending = new AbortController();
const grant = toBenchGrant(app, ["echo", ...more.map(({ name }) => name)]);
writeFileSync(file, JSON.stringify(door.list(grant).map(toWireTool)));
const { url, closed } = await serveHttp({
  ...{ door, permissions, store, grant, isExplicit: false, version: "0.0.0-bench", host: "127.0.0.1", port: 0 },
  hosts: [],
  origins: [],
  onFault(fault) {
    throw fault;
  },
  signal: ending.signal,
});
console.log(JSON.stringify({ url: `${url}/mcp`, token: await permissions.issue(grant) }));
process.stdin.on("end", () => ending.abort()).resume();
await closed;

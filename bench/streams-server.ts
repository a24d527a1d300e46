import { createInterface } from "node:readline";
import { newId } from "../src/index.ts";
import { serveHttp } from "../src/server/mcp/http/http.ts";
import { openBenchApp, toBenchGrant } from "./home.ts";
import { readMemory } from "./memory.ts";

// `node --expose-gc streams-server.ts HOME USERS`: our server over HTTP. Prints its URL and a token for each of so many users as JSON, then,
// for each line on stdin, what it holds: memory after the garbage is collected, and its own count of what is open. Ends with stdin.
const [home = "", users = "1"] = process.argv.slice(2);
await using app = await openBenchApp(home);
const { door, permissions, store } = app;
const ending = new AbortController();
const grant = toBenchGrant(app, ["echo"]);
const { url, closed, counts } = await serveHttp({
  ...{ door, permissions, store, grant, isExplicit: false, version: "0.0.0-bench", host: "127.0.0.1", port: 0 },
  hosts: ["bench"],
  origins: [],
  onFault(fault) {
    throw fault;
  },
  signal: ending.signal,
});
const tokens = Array.from({ length: Number(users) }, (_, index) => {
  const principal = { ...grant.principal, user: `user-${index}` };
  return permissions.mint({ ...grant, id: newId("grant"), ancestors: [], principal });
});
console.log(JSON.stringify({ url, tokens }));
const lines = createInterface(process.stdin);
lines.on("line", () => void readMemory().then((memory) => console.log(JSON.stringify({ ...memory, ...counts() }))));
lines.on("close", () => ending.abort());
await closed;

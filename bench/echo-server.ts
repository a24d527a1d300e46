import { serveStdio } from "../src/server/mcp/stdio.ts";
import { openBenchApp, toBenchGrant } from "./home.ts";

// `node echo-server.ts HOME`: our server with the echo tool, through the whole door, ledger and audit on, until stdin closes.
const [home = ""] = process.argv.slice(2);
await using app = await openBenchApp(home);
const { door, permissions, store } = app;
await serveStdio({
  door,
  permissions,
  store,
  grant: toBenchGrant(app, ["echo"]),
  isExplicit: true,
  version: "0.0.0-bench",
  input: process.stdin,
  output: process.stdout,
  log: (line) => void process.stderr.write(`${line}\n`),
  signal: new AbortController().signal,
});

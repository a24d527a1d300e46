import { serveStdio } from "../../../src/server/mcp/stdio.ts";
import { openTestDoor } from "../../support/door.ts";
import { mcpTools } from "./tools.ts";

// A server program with the test's own tools. Each call of `move` asks a person first. What its tools did goes to stderr.
const log: string[] = [];
log.push = (...lines) => {
  process.stderr.write(`${lines.join("\n")}\n`);
  return 0;
};
const ending = new AbortController();
process.once("SIGTERM", () => ending.abort());

await using opened = await openTestDoor(mcpTools(log));
const { door, permissions, store, grant } = opened;
const tools = grant.rights.tools.map((right) => ({ ...right, ask: right.name === "move" }));
await serveStdio({
  door,
  permissions,
  store,
  grant: { ...grant, rights: { ...grant.rights, tools } },
  isExplicit: true,
  version: "0.0.0-test",
  input: process.stdin,
  output: process.stdout,
  log: (line) => void process.stderr.write(`${line}\n`),
  signal: ending.signal,
});
process.stderr.write("ended in order\n");

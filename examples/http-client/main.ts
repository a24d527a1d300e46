import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { temporaryHome } from "../temporary-home.ts";

// Capstan over HTTP: the server holds no right, each request presents a token, and the token decides.
await using home = await temporaryHome();
const capstan = [join(import.meta.dirname, "../../bin/capstan.js"), "--home", home.path];
const run = (...args: readonly string[]): string =>
  execFileSync(process.execPath, [...capstan, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
const token = run("grant", "create", "--allow", "calculator", "--calls", "2").trim();

const server = spawn(process.execPath, [...capstan, "serve", "--http", "0"], { stdio: ["ignore", "ignore", "pipe"] });
const exited = once(server, "exit");
const [line] = await once(createInterface(server.stderr), "line");
const url = /http:\S+\/mcp/.exec(String(line))?.[0] ?? "";

try {
  const bare = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
  assert.equal(bare.status, 401);
  assert.match(bare.headers.get("www-authenticate") ?? "", /resource_metadata=/);

  const client = new Client(
    { name: "http-client-example", version: "1.0.0" },
    { versionNegotiation: { mode: "auto" } },
  );
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map(({ name }) => name),
    ["calculator"],
  );
  const call = { name: "calculator", arguments: { expression: "6*7" } };
  assert.match(JSON.stringify((await client.callTool(call)).structuredContent), /42/);
  assert.notEqual((await client.callTool(call)).isError, true);
  const third = await client.callTool(call);
  assert.match(JSON.stringify(third.content), /budget\.calls: /);
  const version = client.getNegotiatedProtocolVersion();
  await client.close();
  console.log(`http-client: MCP ${version} under a token for two calls; the third was refused`);
} finally {
  server.kill();
  await exited;
}

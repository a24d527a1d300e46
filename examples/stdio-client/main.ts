import assert from "node:assert/strict";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { temporaryHome } from "../temporary-home.ts";

// What an MCP client does with Capstan: start it, ask what it offers, call it.
await using home = await temporaryHome();
const capstan = join(import.meta.dirname, "../../bin/capstan.js");
const client = new Client(
  { name: "stdio-client-example", version: "1.0.0" },
  { versionNegotiation: { mode: "auto" } }, // Revision 2026-07-28 where the server speaks it, `initialize` otherwise.
);
await client.connect(
  new StdioClientTransport({ command: process.execPath, args: [capstan, "--home", home.path, "serve"] }),
);
try {
  const { tools } = await client.listTools();
  const names = tools.map(({ name }) => name);
  assert.ok(names.includes("calculator") && names.includes("todo_add"), `unexpected tools: ${names.join(", ")}`);
  assert.ok(tools.every(({ outputSchema, annotations }) => outputSchema !== undefined && annotations !== undefined));

  const sum = await client.callTool({ name: "calculator", arguments: { expression: "6*7" } });
  assert.notEqual(sum.isError, true);
  assert.match(JSON.stringify(sum.structuredContent), /42/);

  // A failure is a result too, in words that a model can read. A tool that is not listed does not exist.
  const failed = await client.callTool({ name: "calculator", arguments: { expression: "6*" } });
  assert.equal(failed.isError, true);
  assert.match(JSON.stringify(failed.content), /calculator\.syntax: /);
  await assert.rejects(client.callTool({ name: "no_such_tool", arguments: {} }), /tool\.unknown/);
  console.log(`stdio-client: ${names.length} tools over MCP ${client.getNegotiatedProtocolVersion()}, 6*7 is 42`);
} finally {
  await client.close();
}

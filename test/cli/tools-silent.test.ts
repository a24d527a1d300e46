import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { stringify } from "yaml";
import { expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

test("a server that answers something else than was asked costs a command its time limit, and not its answer", async () => {
  await using home = await tempFolder();
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ jsonrpc: "2.0", id: 99_999, result: {} }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const far = { url: `http://127.0.0.1:${port}/mcp`, private: true, startTimeoutMs: 500 };
    await writeFile(join(home.path, "capstan.yaml"), stringify({ mcp: { servers: { far } } }));
    const { code, stdout, stderr } = await capstan(home.path, ["tools", "ls"]);
    expect(stderr).toContain("mcp far: The MCP server far was not there within 500 ms.");
    expect(stdout).toContain("calculator");
    expect(code).toBe(0);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

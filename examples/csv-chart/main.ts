import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { temporaryHome } from "../temporary-home.ts";

// A table goes in by its path and a chart comes out by its link: neither passes through the words of a model.
await using home = await temporaryHome();
const capstan = join(import.meta.dirname, "../../bin/capstan.js");
const client = new Client(
  { name: "csv-chart-example", version: "1.0.0" },
  { versionNegotiation: { mode: "auto" } }, // Revision 2026-07-28 where the server speaks it, `initialize` otherwise.
);
const args = [capstan, "--home", home.path, "serve", "--root", import.meta.dirname];
await client.connect(new StdioClientTransport({ command: process.execPath, args }));
try {
  const drawn = await client.callTool({
    name: "execute_code",
    arguments: {
      language: "python",
      code: await readFile(join(import.meta.dirname, "chart.py"), "utf8"),
      files: [{ path: "sales.csv", from: join(import.meta.dirname, "sales.csv") }],
    },
  });
  assert.notEqual(drawn.isError, true, JSON.stringify(drawn.content));
  const best = { rows: 12, total: 15_880, best: "2025-06" };
  assert.deepEqual(Object(drawn.structuredContent).result, best);

  // The picture is there to be seen; the file of text is behind its link.
  const picture = drawn.content.find((block) => block.type === "image");
  assert.equal(picture?.mimeType, "image/png");
  const chart = drawn.content.find((block) => block.type === "resource_link" && block.name === "chart.svg");
  assert.ok(chart?.type === "resource_link" && chart.mimeType === "image/svg+xml");
  const { contents } = await client.readResource({ uri: chart.uri });
  assert.match(JSON.stringify(contents), /2025-06: 3440/);

  // What one call made, the next one takes: here code in another language.
  const counted = await client.callTool({
    name: "execute_code",
    arguments: {
      language: "javascript",
      code: 'files.read("chart.svg").match(/<rect /g).length',
      files: [{ path: "chart.svg", artifact: chart.uri }],
    },
  });
  assert.notEqual(counted.isError, true, JSON.stringify(counted.content));
  assert.equal(Object(counted.structuredContent).result, 6);

  // What the server was not given to read, no call reads.
  const refused = await client.callTool({
    name: "execute_code",
    arguments: {
      language: "javascript",
      code: "1",
      files: [{ path: "x", from: join(import.meta.dirname, "../all.ts") }],
    },
  });
  assert.equal(refused.isError, true);
  assert.match(JSON.stringify(refused.content), /permission\.argument_refused/);
  console.log(`csv-chart: ${best.rows} rows in, a chart of 6 months out, ${chart.uri}`);
} finally {
  await client.close();
}

import assert from "node:assert/strict";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { z } from "zod";
import { temporaryHome } from "../temporary-home.ts";

// Three calls in one session: what the first reads, the second computes with, and the third comes after Capstan was started again. By
// then the variables are gone, which it is told, and the files are there.
await using home = await temporaryHome();
const capstan = join(import.meta.dirname, "../../bin/capstan.js");
const Answer = z.object({
  status: z.literal("ok"),
  result: z.unknown(),
  artifacts: z.array(z.object({ path: z.string() })),
  session: z.object({ isNew: z.boolean(), isOver: z.boolean(), note: z.string().optional() }),
});

async function start() {
  const client = new Client({ name: "session-example", version: "1.0.0" });
  const args = [capstan, "--home", home.path, "serve"];
  await client.connect(new StdioClientTransport({ command: process.execPath, args }));
  return {
    async run(code: string, files: readonly { path: string; text: string }[] = []) {
      const given = { language: "javascript", session: "sales", code, files };
      const { structuredContent } = await client.callTool({ name: "execute_code", arguments: given });
      return Answer.parse(structuredContent);
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

{
  await using server = await start();
  const csv = "town,sold\nRome,12\nOslo,7\nRiga,9\nRome,5\n";
  const read = await server.run(
    `var rows = files.read("sales.csv").trim().split("\\n").slice(1).map((line) => line.split(",")); rows.length`,
    [{ path: "sales.csv", text: csv }],
  );
  assert.deepEqual(read.result, 4);
  assert.deepEqual(read.session, { isNew: true, isOver: false });

  const summed = await server.run(`
    var sums = {};
    for (const [town, sold] of rows) sums[town] = (sums[town] ?? 0) + Number(sold);
    files.write("sums.json", JSON.stringify(sums));
    sums`);
  assert.deepEqual(summed.result, { Rome: 17, Oslo: 7, Riga: 9 });
  assert.deepEqual(summed.session, { isNew: false, isOver: false });
  assert.deepEqual(
    summed.artifacts.map(({ path }) => path),
    ["sums.json"],
  );
}

await using server = await start();
const later = await server.run(`[typeof rows, JSON.parse(files.read("sums.json")).Rome]`);
assert.deepEqual(later.result, ["undefined", 17]);
assert.equal(later.session.isNew, true);
console.log(`session: ${later.session.note}`);

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, type ElicitResult } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { z } from "zod";
import { temporaryHome } from "../temporary-home.ts";

// A server behind Capstan asks the person in front of it with a form. The answer travels back, whatever revisions the two speak.
await using home = await temporaryHome();
await using folder = await temporaryHome();
const orders = join(folder.path, "orders.txt");
const shop = { command: process.execPath, args: [new URL("shop-server.ts", import.meta.url).pathname, orders] };
// JSON is YAML too.
await writeFile(join(home.path, "capstan.yaml"), JSON.stringify({ mcp: { servers: { shop } } }));

const capstan = [join(import.meta.dirname, "../../bin/capstan.js"), "--home", home.path];
const shown: string[] = [];

interface Call {
  readonly name: string;
  readonly arguments: Record<string, string>;
}
const directly: Call = { name: "shop__order", arguments: { tea: "Assam" } };
const code = 'try { await tools.shop__order({ tea: "Assam" }) } catch (error) { error.code }';
const fromCode: Call = { name: "execute_code", arguments: { language: "javascript", code } };

/** Orders tea as a client of its own; `answer` is what its person says, and without one it can't be asked. */
async function order(revision: "2025-11-25" | "2026-07-28", answer?: ElicitResult, call = directly): Promise<string> {
  const client = new Client(
    { name: "elicitation-example", version: "1.0.0" },
    {
      capabilities: answer === undefined ? {} : { elicitation: { form: {} } },
      versionNegotiation: { mode: revision === "2025-11-25" ? "legacy" : { pin: revision } },
    },
  );
  if (answer !== undefined) {
    client.setRequestHandler("elicitation/create", ({ params }) => {
      shown.push(params.message);
      return answer;
    });
  }
  const args = [...capstan, "serve", "--allow", "shop__order"];
  await client.connect(new StdioClientTransport({ command: process.execPath, args, stderr: "ignore" }));
  try {
    assert.equal(client.getNegotiatedProtocolVersion(), revision);
    const { content, structuredContent, isError = false } = await client.callTool(call);
    if (call === fromCode) return z.object({ result: z.string() }).parse(structuredContent).result;
    const [block] = content;
    return `${isError ? "refused: " : ""}${block?.type === "text" ? block.text : ""}`;
  } finally {
    await client.close();
  }
}

const three: ElicitResult = { action: "accept", content: { packets: 3 } };
assert.equal(await order("2026-07-28", three), "Ordered: 3 × Assam");
// The shop speaks 2026-07-28 alone, and asks by a result. A client of 2025-11-25 gets the question as a request, while its call is open.
assert.equal(await order("2025-11-25", { action: "accept", content: { packets: 4 } }), "Ordered: 4 × Assam");
// A person may say no, and a client that shows no forms is asked nothing.
assert.equal(await order("2025-11-25", { action: "decline" }), "Nothing was ordered.");
assert.match(await order("2025-11-25"), /^refused: /);

// Code that calls the shop can't be put aside until there is an answer. Where the client is asked while its call is open, the clock of
// the code stands still; elsewhere the code hears that nobody can be asked.
assert.equal(await order("2025-11-25", { action: "accept", content: { packets: 5 } }, fromCode), "Ordered: 5 × Assam");
assert.equal(await order("2026-07-28", three, fromCode), "tool.input_needed");

// Whoever is asked sees which server asks.
assert.deepEqual(new Set(shown), new Set(["shop asks: How many packets of Assam?"]));
assert.equal(await readFile(orders, "utf8"), "3 × Assam\n4 × Assam\n5 × Assam\n");
console.log(
  `elicitation: a server behind asked ${shown.length} people, of both revisions; the one who can't be asked was not`,
);

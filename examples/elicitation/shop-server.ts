import { appendFile } from "node:fs/promises";
import { acceptedContent, inputRequired, McpServer } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

// An MCP server of revision 2026-07-28 that asks a person before it orders. What was ordered stands in the file that it is given.
const [file = "orders.txt"] = process.argv.slice(2);
const Amount = z.object({ packets: z.int().min(1).max(10) });

serveStdio(
  () => {
    const server = new McpServer({ name: "shop", version: "1.0.0" });
    const order = { description: "Orders tea.", inputSchema: z.object({ tea: z.string().max(100) }) };
    server.registerTool("order", order, async ({ tea }, { mcpReq: { inputResponses } }) => {
      if (inputResponses === undefined) {
        const question = inputRequired.elicit({ message: `How many packets of ${tea}?`, requestedSchema: Amount });
        return inputRequired({ inputRequests: { amount: question } });
      }
      const amount = acceptedContent(inputResponses, "amount", Amount);
      if (amount === undefined) return { content: [{ type: "text", text: "Nothing was ordered." }] };
      const ordered = `${amount.packets} × ${tea}`;
      await appendFile(file, `${ordered}\n`);
      return { content: [{ type: "text", text: `Ordered: ${ordered}` }] };
    });
    return server;
  },
  { legacy: "reject" },
);

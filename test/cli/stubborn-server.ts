import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

// An MCP server that nothing but SIGKILL ends, and whose one tool never answers. Its pid goes into the file that is named, and what is
// called into the file beside it.
const [file = ""] = process.argv.slice(2);
writeFileSync(file, String(process.pid));
for (const name of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(name, () => {});
setInterval(() => {}, 1_000);

const tool = { name: "hang", description: "Never answers.", inputSchema: { type: "object", properties: {} } };

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method }: { readonly id?: number; readonly method: string } = JSON.parse(line);
  const reply = (result: object): boolean =>
    process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, result: { resultType: "complete", ...result } })}\n`);
  const serverInfo = { name: "stubborn", version: "1" };
  const capabilities = { tools: {} };
  if (method === "server/discover") reply({ supportedVersions: ["2026-07-28"], capabilities, serverInfo });
  else if (method === "tools/list") reply({ tools: [tool] });
  else if (method === "tools/call") writeFileSync(`${file}.called`, "");
}

import { appendFileSync, existsSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { Server } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

// A server that says of its tools what stands in the file `tools.json` of a folder, now and after each change of it. That it was started,
// and what it ran, stands in `log.txt` there.
const [name = "", folder = "", ...others] = process.argv.slice(2);
const log = (line: string): void => appendFileSync(join(folder, "log.txt"), `${line}\n`);
// Its first process says one thing, and later ones what stands in `later.json`, where there is one.
const later = join(folder, "later.json");
const file = existsSync(join(folder, "log.txt")) && existsSync(later) ? later : join(folder, "tools.json");
log(["started", ...others].join(" "));

serveStdio(() => {
  const server = new Server({ name, version: "1" }, { capabilities: { tools: { listChanged: true } } });
  server.setRequestHandler("tools/list", () => ({ tools: JSON.parse(readFileSync(file, "utf8")) }));
  server.setRequestHandler("tools/call", ({ params }) => {
    log(`ran ${params.name}`);
    return { content: [{ type: "text", text: `${name} ran ${params.name}` }] };
  });
  watch(folder, { persistent: false }, (_kind, changed) => {
    if (changed === "tools.json") server.sendToolListChanged().catch(() => {});
  });
  return server;
});

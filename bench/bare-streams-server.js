// The peer of our event streams: `node bare-streams-server.js`. A plain node:http server that answers every request with an event stream, tells
// one event on it and leaves it open. No sessions, no tokens, no notices. For each line on stdin it prints what it holds.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { readMemory } from "./memory.ts";

const open = new Set();
const server = createServer((request, response) => {
  open.add(response.once("close", () => open.delete(response)));
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write("event: message\ndata: {}\n\n");
  request.resume();
});
server.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}`, tokens: ["none"] }));
});
const lines = createInterface(process.stdin);
lines.on("line", () =>
  readMemory().then((memory) => console.log(JSON.stringify({ ...memory, streams: open.size, sessions: 0 }))),
);
lines.on("close", () => process.exit(0));

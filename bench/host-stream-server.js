import { createServer } from "node:http";

// `node host-stream-server.js CHUNKS`: answers each request with so many chunks of Chat Completions, in packets of 20. Prints its port.
const chunks = Number(process.argv[2] ?? 1);
const toLine = (delta, finish_reason = null) =>
  `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "mock", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const packet = toLine({ content: "token " }).repeat(20);
const server = createServer((request, response) => {
  request.resume();
  request.on("end", async () => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let sent = 0; sent < chunks; sent += 20) {
      response.write(packet);
      await new Promise(setImmediate);
    }
    const usage = { prompt_tokens: 10, completion_tokens: chunks, total_tokens: 10 + chunks };
    response.end(`${toLine({}, "stop")}data: ${JSON.stringify({ id: "x", choices: [], usage })}\n\ndata: [DONE]\n\n`);
  });
}).listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));

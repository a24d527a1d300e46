import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { openApp, run } from "../../src/index.ts";
import { temporaryHome } from "../temporary-home.ts";

/** A model server that asks for one calculation and then says the number: two turns of the Chat Completions stream. */
const turns = [
  [
    {
      delta: {
        role: "assistant",
        tool_calls: [
          {
            index: 0,
            id: "c1",
            type: "function",
            function: { name: "calculator", arguments: '{"expression":"2^10"}' },
          },
        ],
      },
    },
    { delta: {}, finish_reason: "tool_calls" },
  ],
  [{ delta: { role: "assistant", content: "It is 1024." } }, { delta: {}, finish_reason: "stop" }],
];
const bodies: string[] = [];
const model = createServer((request, response) => {
  void answer(request, response);
}).listen(0, "127.0.0.1");
await once(model, "listening");

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  bodies.push(await text(request));
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const choice of turns[bodies.length - 1] ?? []) {
    const chunk = {
      id: "x",
      object: "chat.completion.chunk",
      created: 0,
      model: "fake",
      choices: [{ index: 0, ...choice }],
    };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  }
  response.end("data: [DONE]\n\n");
}

const address = model.address();
assert.ok(typeof address === "object" && address !== null);

await using home = await temporaryHome();
const config = `${home.path}/capstan.yaml`;
await writeFile(
  config,
  `host:\n  providers:\n    openai-compatible:\n      baseUrl: http://127.0.0.1:${address.port}/v1\n`,
);
await using app = await openApp({ home: home.path });

const outcome = await run(app, "How much is two to the tenth?", { model: "openai-compatible:fake" });
model.close();
assert.equal(outcome.status, "done");
assert.equal(outcome.answer, "It is 1024.");
// The second request carries what the calculator answered.
assert.match(bodies[1] ?? "", /1024/);
console.log("fake-model: one tool call, two turns");

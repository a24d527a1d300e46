import assert from "node:assert/strict";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { createServer } from "node:http";
import { openApp, run } from "../../src/index.ts";
import { parseConfig } from "../../src/config.ts";
import { temporaryHome } from "../temporary-home.ts";

/** A model server on a port of its own that counts how often it is asked. */
async function serve(answer: (response: ServerResponse, asked: number) => unknown) {
  let asked = 0;
  const server = createServer((request, response) => {
    asked += 1;
    request.resume();
    answer(response, asked);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    baseUrl: `http://127.0.0.1:${address.port}/v1`,
    asked: () => asked,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

// The first server is full, then broken, and stays that way; the second answers.
await using first = await serve((response, asked) => response.writeHead(asked === 1 ? 429 : 500).end());
await using second = await serve((response) => {
  const choices = [{ delta: { content: "Still here." } }, { delta: {}, finish_reason: "stop" }];
  const chunks = choices.map((choice) => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
  response.writeHead(200, { "content-type": "text/event-stream" }).end(`${chunks.join("")}data: [DONE]\n\n`);
});

await using home = await temporaryHome();
const config = await parseConfig(
  `
host:
  providers:
    first: { baseUrl: "${first.baseUrl}" }
    second: { baseUrl: "${second.baseUrl}" }
  routes:
    steady: { models: ["first:large", "second:small"] }
  retries:
    model: { retries: 2, firstMs: 10 }
`,
  "the config of this example",
);
await using app = await openApp({ home: home.path, config });

const outcome = await run(app, "Are you there?", { model: "steady" });
assert.equal(outcome.status, "done");
assert.equal(outcome.answer, "Still here.");
assert.deepEqual([first.asked(), second.asked()], [4, 1]);

// The log tells who answered, and what happened on the way.
const { events } = await app.host.load(outcome.runId);
const answered = events.find((event) => event.type === "model.answered");
assert.equal(answered?.model, "second:small");
const told = answered?.notices?.flatMap((notice) =>
  notice.type === "retry" || notice.type === "failover" ? [`${notice.type} ${notice.code}`] : [],
);
assert.deepEqual(told, [
  "retry provider.rate_limited",
  "retry provider.unavailable",
  "retry provider.unavailable",
  "failover provider.unavailable",
]);
assert.deepEqual(
  app.host.health().map(({ name, failures }) => `${name}: ${failures}`),
  ["second: 0", "first: 3"],
);
console.log("failover: four answers that were none, and one by the next model");

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { temporaryHome } from "../temporary-home.ts";

/** What the model says each time it is asked: words, then JSON that lacks something, then JSON that fits. */
const answers = ["Ada Lovelace was born in 1815.", '{"name":"Ada Lovelace"}', '{"name":"Ada Lovelace","born":1815}'];
const bodies: string[] = [];
const model = createServer((request, response) => {
  void answer(request, response);
}).listen(0, "127.0.0.1");
await once(model, "listening");
const address = model.address();
assert.ok(typeof address === "object" && address !== null);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  bodies.push(await text(request));
  const about = { id: "x", object: "chat.completion.chunk", created: 0, model: "fake" };
  const delta = { role: "assistant", content: answers[bodies.length - 1] };
  const choices = [
    { index: 0, delta },
    { index: 0, delta: {}, finish_reason: "stop" },
  ];
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const choice of choices) response.write(`data: ${JSON.stringify({ ...about, choices: [choice] })}\n\n`);
  response.end("data: [DONE]\n\n");
}

await using home = await temporaryHome();
const provider = `{ baseUrl: "http://127.0.0.1:${address.port}/v1" }`;
await writeFile(join(home.path, "capstan.yaml"), `host: { providers: { openai-compatible: ${provider} } }\n`);
const bin = join(import.meta.dirname, "../../bin/capstan.js");
const schema = join(import.meta.dirname, "person.schema.json");

/** One run in a process of its own, with the schema that its answer must fit. */
function capstan(...options: readonly string[]) {
  const args = [bin, "--home", home.path, "run", "Who was she?", "--model", "openai-compatible:fake", ...options];
  const running = promisify(execFile)(process.execPath, args);
  running.child.stdin?.end();
  return running;
}

// stdout is JSON that fits, and nothing else, although the model needed three tries.
const { stdout } = await capstan("--schema", schema);
assert.deepEqual(JSON.parse(stdout), { name: "Ada Lovelace", born: 1815 });
assert.match(bodies[0] ?? "", /additionalProperties/);
assert.match(bodies[1] ?? "", /it is no JSON/);
assert.match(bodies[2] ?? "", /must have required property 'born'/);

// A schema that is none is refused before the model is asked.
await assert.rejects(capstan("--schema", '{"type":"nonsense"}'), { code: 2, stdout: "" });
assert.equal(bodies.length, 3);
model.close();
console.log("structured-output: two answers that did not fit were asked for again, and the third is JSON");

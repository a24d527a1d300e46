import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import type { App } from "../../src/index.ts";
import { openApp, run } from "../../src/index.ts";
import { temporaryHome } from "../temporary-home.ts";

/** What two models say, turn by turn, as [tool, arguments] or as text: the clerk tries what only the lead may, then what it may. */
const said: Readonly<Record<string, readonly (readonly [string, object] | string)[]>> = {
  lead: [
    ["todo_add", { text: "Buy milk" }],
    ["agent_clerk", { task: "Which todos are there?" }],
    "The clerk has looked.",
  ],
  clerk: [["todo_add", { text: "Sell milk" }], ["todo_list", { status: "open" }], "One: Buy milk."],
};
const model = createServer((request, response) => {
  void answer(request, response);
}).listen(0, "127.0.0.1");
await once(model, "listening");

/** One turn of the Chat Completions stream. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body: unknown = await json(request);
  assert.ok(typeof body === "object" && body !== null && "model" in body && "messages" in body);
  assert.ok(typeof body.model === "string" && Array.isArray(body.messages));
  const turn = body.messages.filter(({ role }) => role === "assistant").length;
  const next = said[body.model]?.[turn] ?? "There is nothing left to say.";
  const [name, args] = typeof next === "string" ? [] : next;
  const call = { index: 0, id: `c${turn}`, type: "function", function: { name, arguments: JSON.stringify(args) } };
  const delta = typeof next === "string" ? { content: next } : { tool_calls: [call] };
  const choice = { index: 0, delta, finish_reason: typeof next === "string" ? "stop" : "tool_calls" };
  const chunk = { id: "x", object: "chat.completion.chunk", created: 0, model: body.model, choices: [choice] };
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(`data: ${JSON.stringify(chunk)}\n\ndata: [DONE]\n\n`);
}

const address = model.address();
assert.ok(typeof address === "object" && address !== null);
const config = `
host:
  providers:
    openai-compatible: { baseUrl: "http://127.0.0.1:${address.port}/v1" }
  agents:
    lead:
      description: Looks after the todos
      instructions: You look after the todos of {{ who }}.
      variables: { who: {} }
      model: openai-compatible:lead
      tools: [todo_add, todo_list]
      agents: [clerk]
    clerk:
      description: Tells which todos there are
      instructions: You tell which todos there are.
      model: openai-compatible:clerk
      tools: [todo_list]
`;
await using home = await temporaryHome();
await writeFile(`${home.path}/capstan.yaml`, config);
await using app = await openApp({ home: home.path });

const outcome = await run(app, "Add milk, and see what there is.", {
  agent: "lead",
  variables: { who: "Ada" },
  allow: ["agent_clerk"],
});
model.close();
assert.equal(outcome.status, "done");
assert.equal(outcome.answer, "The clerk has looked.");

/** The tools that a run called, and how each call ended. */
async function callsOf({ host }: App, runId: string): Promise<readonly string[]> {
  const { events } = await host.load(runId);
  const names = events.flatMap((event) => (event.type === "tool.requested" ? [event.name] : []));
  const ends = events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome.code ?? "done"] : []));
  return names.map((name, index) => `${name} ${ends[index]}`);
}

// The clerk worked in a run of its own, under a grant within that of the lead: what the lead may, it may not.
const [clerk, lead] = await app.host.list(2);
assert.ok(clerk !== undefined && lead !== undefined);
const { events } = await app.host.load(clerk.runId);
assert.ok(events[0]?.type === "run.created");
assert.deepEqual(events[0].agent, { name: "clerk", version: 1 });
assert.equal(events[0].parent?.runId, lead.runId);
assert.deepEqual(await callsOf(app, lead.runId), ["todo_add done", "agent_clerk done"]);
assert.deepEqual(await callsOf(app, clerk.runId), ["todo_add tool.unknown", "todo_list done"]);
const todos = await run(app, 'todo_list {"status":"open"}', { model: "planner" });
assert.match(todos.answer, /Buy milk/);
assert.doesNotMatch(todos.answer, /Sell milk/);
console.log("sub-agent: the clerk read the list, and was refused what only the lead may");

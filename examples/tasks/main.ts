import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { temporaryHome } from "../temporary-home.ts";

// A client hands a task to an agent and gets a handle at once. The agent asks a person before it adds a todo. Meanwhile the server is
// killed, and the next one knows the handle, takes the answer and ends the task.
await using home = await temporaryHome();
const capstan = [join(import.meta.dirname, "../../bin/capstan.js"), "--home", home.path];
const rights = ["--allow", "run_agent", "--allow", "todo_*", "--ask", "todo_add", "--approve", "todo_add"];
execFileSync(process.execPath, [...capstan, "grant", "create", ...rights, "--name", "agents", "--ttl", "1h"], {
  stdio: "ignore",
});

const Answer = z.object({ id: z.int(), result: z.looseObject({ resultType: z.string() }) });
const Task = z.object({ status: z.string(), inputRequests: z.record(z.string(), z.unknown()).default({}) });
/** In each request: the revision, and that this client takes handles and shows forms. */
const meta = {
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientCapabilities": {
    elicitation: {},
    extensions: { "io.modelcontextprotocol/tasks": {} },
  },
};

/** A server on stdio, where each line is a message. */
function startServer() {
  const child = spawn(process.execPath, [...capstan, "serve", "--as", "agents"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  let last = 0;
  async function request(method: string, params: object) {
    const id = (last += 1);
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params: { ...params, _meta: meta } })}\n`);
    for (;;) {
      const [line]: unknown[] = await once(lines, "line", { signal: AbortSignal.timeout(30_000) });
      const answer = Answer.safeParse(JSON.parse(z.string().parse(line)));
      if (answer.success && answer.data.id === id) return answer.data.result;
    }
  }
  /** Asks how a task stands until it works no more. */
  async function settle(taskId: string) {
    for (;;) {
      const task = await request("tasks/get", { taskId });
      if (task["status"] !== "working") return task;
      await sleep(100);
    }
  }
  async function end(signal: NodeJS.Signals) {
    child.kill(signal);
    await once(child, "exit");
  }
  return { request, settle, end };
}

const first = startServer();
const task = "Add a todo to buy milk, then show me all my tasks";
const handle = await first.request("tools/call", { name: "run_agent", arguments: { task } });
assert.equal(handle.resultType, "task");
const taskId = z.string().parse(handle["taskId"]);
const asking = Task.parse(await first.settle(taskId));
assert.equal(asking.status, "input_required");
await first.end("SIGKILL");

const next = startServer();
const { inputRequests } = Task.parse(await next.settle(taskId));
assert.deepEqual(inputRequests, asking.inputRequests);
assert.match(JSON.stringify(inputRequests), /buy milk/);
const yes = { action: "accept", content: { approve: true } };
const inputResponses = Object.fromEntries(Object.keys(inputRequests).map((key) => [key, yes]));
await next.request("tasks/update", { taskId, inputResponses });

const completed = await next.settle(taskId);
const Result = z.object({ structuredContent: z.object({ runId: z.string(), status: z.string(), answer: z.string() }) });
const { structuredContent: run } = Result.parse(completed["result"]);
assert.equal(run.status, "done");
assert.match(run.answer, /buy milk/);
await next.end("SIGTERM");
console.log(`tasks: ${run.runId} waited for a person, outlived its server, and is ${run.status}`);

import assert from "node:assert/strict";
import { openApp, run } from "../../src/index.ts";
import { temporaryHome } from "../temporary-home.ts";

await using home = await temporaryHome();
await using app = await openApp({ home: home.path });

const outcome = await run(app, "Add a todo to buy milk, then show me all my tasks");
assert.equal(outcome.status, "done");
assert.equal(outcome.toolCalls, 2);
assert.match(outcome.answer, /buy milk/);

// The run is a log of events, and the log says what was done.
const calls: string[] = [];
for await (const event of app.host.events(outcome.runId)) {
  if (event.type === "tool.requested") calls.push(event.name);
}
assert.deepEqual(calls, ["todo_add", "todo_list"]);
console.log(`planner-run: ${calls.join(", ")}`);

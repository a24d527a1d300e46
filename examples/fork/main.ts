import assert from "node:assert/strict";
import { newId, openApp, operatorGrant, run } from "../../src/index.ts";
import { temporaryHome } from "../temporary-home.ts";

await using home = await temporaryHome();
await using app = await openApp({ home: home.path });
const { permissions, principal, scope, toolNames } = app;
const grant = operatorGrant(
  {
    ...{ id: newId("grant"), now: permissions.now(), principal, scope, epoch: permissions.epoch(principal) },
    ...{ read: [], write: [], allow: [] },
  },
  toolNames,
);

const first = await run(app, "calculate 6 * 7", { grant });
assert.match(first.answer, /42/);

// What would it have said if the calculator had been wrong? A fork goes on from the end of that call, with another result.
const { events } = await app.host.load(first.runId);
const end = events.find((event) => event.type === "tool.finished");
assert.ok(end?.type === "tool.finished");
const { signal } = new AbortController();
const fork = await app.host.fork(first.runId, { at: end.seq, results: { [end.callId]: 43 }, grant, signal });
assert.equal(fork.status, "done");
assert.match(fork.answer, /43/);

// The run that it comes from is as it was, and the fork's log goes on from it: nothing was copied.
assert.deepEqual((await app.host.load(first.runId)).events, events);
const lineage = (await app.host.load(fork.runId)).events;
assert.deepEqual(lineage.slice(0, end.seq - 1), events.slice(0, end.seq - 1));
const edited = lineage.find((event) => event.type === "tool.finished");
assert.ok(edited?.type === "tool.finished" && edited.edited === true && edited.runId === fork.runId);

// Both logs are whole, and today's code would write them again as they are.
for (const { runId } of [first, fork]) {
  assert.equal((await app.host.verify(runId)).ok, true);
  assert.equal((await app.host.replay(runId)).ok, true);
}
console.log(`fork: ${first.answer.trim()} became ${fork.answer.trim()}`);

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { derive } from "../../../src/permissions/derive.ts";
import { handClock } from "../../support/clock.ts";
import { sameAs, testTool } from "../../support/door.ts";
import { openHttpServer } from "./http-serve.ts";
import { openOfferingServer, toText } from "./offering-serve.ts";
import { envelope } from "./peer.ts";
import { openTestServer } from "./serve.ts";
import { toTaskClient } from "./task-client.ts";

/** Works in two halves, of which its state says how many are done. The first entry gets no further than the first half. */
function openHalves(timeoutMs = 60_000) {
  const entries: unknown[] = [];
  const halfway = new EventTarget();
  const tool = testTool("halves", {
    timeoutMs: () => timeoutMs,
    async run({ text }, { detach, resumed, signal, progress }) {
      entries.push(resumed?.cancelled === true ? "cancelled" : (resumed?.state ?? "new"));
      if (resumed?.cancelled === true) return { type: "done", value: {} };
      if (resumed?.state === 1) return { type: "done", value: { text, halves: 2 } };
      await detach?.(0);
      progress({ done: 1, message: "half of it is done" });
      await detach?.(1);
      halfway.dispatchEvent(new Event("halfway"));
      await sleep(60_000, undefined, { signal }).finally(() => halfway.dispatchEvent(new Event("stopped")));
      return { type: "done", value: {} };
    },
  });
  return { tool, entries, halfway };
}

/** A server whose first process has ended halfway through a task. */
async function openHalfDone() {
  const { tool, entries, halfway } = openHalves();
  const clock = handClock();
  const server = await openTestServer({ more: [tool], clock });
  const first = server.connect();
  const reached = once(halfway, "halfway");
  const taskId = await toTaskClient(first).begin("halves", { text: "x" });
  await reached;
  first.hangUp();
  await first.ended;
  return { server, clock, entries, taskId, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

test("a task is taken up from its last state by one process, however many are asked", async () => {
  await using at = await openHalfDone();
  const clients = [1, 2, 3].map(() => toTaskClient(at.server.connect()));
  const asked = await Promise.all(clients.map((client) => client.get(at.taskId)));
  expect(asked.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
  for (const client of clients) {
    const { result } = await client.until(at.taskId, "completed");
    expect(result).toMatchObject({ structuredContent: { text: "x", halves: 2 } });
  }
  expect(at.entries).toEqual(["new", 1]);
});

test("a task is not taken up for a grant above its own that may not make the call, and is for its own", async () => {
  await using at = await openHalfDone();
  const { server, taskId } = at;
  const less = toTaskClient(server.connect(server.withRights("less", { tools: server.rightsTo(["echo"]) })));
  expect((await less.get(taskId)).error).toMatchObject({ code: -32_602, data: { code: "tool.unknown" } });
  expect(at.entries).toEqual(["new"]);
  await toTaskClient(server.connect()).until(taskId, "completed");
  expect((await less.get(taskId)).result).toMatchObject({ status: "completed" });
});

test("a task that is cancelled while nobody works on it is wound down by its tool", async () => {
  await using at = await openHalfDone();
  const client = toTaskClient(at.server.connect());
  await client.cancel(at.taskId);
  await expect.poll(() => at.entries).toEqual(["new", "cancelled"]);
  expect((await client.get(at.taskId)).result).toMatchObject({ status: "cancelled" });
  expect(at.server.faults).toEqual([]);
});

test("a task that another process works on is ended there, and wound down by nobody else", async () => {
  const { tool, entries, halfway } = openHalves();
  await using server = await openTestServer({ more: [tool] });
  const reached = once(halfway, "halfway");
  const taskId = await toTaskClient(server.connect()).begin("halves");
  await reached;
  const stopped = once(halfway, "stopped");
  await toTaskClient(server.connect()).cancel(taskId);
  await stopped;
  expect(entries).toEqual(["new"]);
});

test("a task says how far it is, also to a process that does not work on it", async () => {
  await using at = await openHalfDone();
  at.server.connect();
  const record = (await at.server.store.records(at.server.grant.scope, "task"))[0]?.value;
  expect(record).toMatchObject({ message: "half of it is done", lease: null, phase: { type: "working", state: 1 } });
});

test("a call whose time is over goes on with its next entry, and one without a state ends", async () => {
  const { tool, entries } = openHalves(100);
  const lost = testTool("lost", {
    timeoutMs: () => 100,
    async run(_args, { detach, signal }) {
      await detach?.();
      await sleep(60_000, undefined, { signal });
      return { type: "done", value: {} };
    },
  });
  await using server = await openTestServer({ more: [tool, lost] });
  const client = toTaskClient(server.connect());
  await client.until(await client.begin("halves"), "completed");
  expect(entries).toEqual(["new", 1]);
  const { result } = await client.until(await client.begin("lost"), "completed");
  expect(result).toMatchObject({ isError: true, _meta: { "dev.capstan/code": "tool.timeout" } });
});

test("a process that was silent for too long leaves its task to the one that took it up", async () => {
  const entries: { readonly state: unknown; readonly signal: AbortSignal }[] = [];
  const over = Promise.withResolvers<void>();
  const tool = testTool("patient", {
    timeoutMs: () => 60_000,
    async run(_args, { detach, resumed, signal }) {
      await detach?.("begun");
      entries.push({ state: resumed?.state, signal });
      if (resumed === undefined) await sleep(60_000, undefined, { signal });
      await over.promise;
      return { type: "done", value: {} };
    },
  });
  const clock = handClock();
  await using server = await openTestServer({ more: [tool], clock });
  const taskId = await toTaskClient(server.connect()).begin("patient");
  const others = [1, 2].map(() => toTaskClient(server.connect()));
  const look = () => Promise.all(others.map(async (other) => (await other.get(taskId)).result?.["status"]));
  expect(await look()).toEqual(["working", "working"]);
  await expect.poll(() => entries.length).toBe(1);

  clock.advance(6_001); // In less time than it takes the first to say again that it lives.
  expect(await look()).toEqual(["working", "working"]);
  await expect.poll(() => entries.map(({ state }) => state)).toEqual([undefined, "begun"]);
  await expect.poll(() => entries[0]?.signal.reason).toMatchObject({ code: "core.interrupted" });
  await sleep(100);
  expect(await look()).toEqual(["working", "working"]);
  over.resolve();
  await Promise.all(others.map((other) => other.until(taskId, "completed")));
  expect(entries).toHaveLength(2);
});

test("a task that was called through call_tool answers a large result by reference, and keeps that after its process", async () => {
  const dump = testTool("dump_later", {
    async run({ text }, { detach }) {
      await detach?.();
      return { type: "done", content: [{ type: "text", text: toText(text) }] };
    },
  });
  await using server = await openOfferingServer({ more: [dump], discovery: "search" });
  const first = server.connect(server.reader);
  const client = toTaskClient(first);
  const taskId = await client.begin("call_tool", { name: "dump_later", arguments: { text: "200000" } });
  const ended = await client.until(taskId, "completed");
  const links = {
    content: expect.arrayContaining([expect.objectContaining({ type: "resource_link" })]),
  };
  expect(ended["result"]).toMatchObject(links);
  first.hangUp();
  await first.ended;
  const { result } = await toTaskClient(server.connect(server.reader)).get(taskId);
  expect(result?.["result"]).toEqual(ended["result"]);
});

test("a server over HTTP that stops leaves its tasks to the next, under a token that may have them", async () => {
  const { tool, entries, halfway } = openHalves();
  await using server = await openHttpServer({ more: [tool] });
  const mine = derive(server.grant, sameAs(server.grant), { id: "mine", now: server.permissions.now() });
  const reached = once(halfway, "halfway");
  const capabilities = { extensions: { "io.modelcontextprotocol/tasks": {} } };
  const response = await fetch(`${server.url}/mcp`, {
    method: "POST",
    headers: {
      ...{ authorization: `Bearer ${server.tokenOf(mine)}`, "content-type": "application/json" },
      ...{ "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "halves" },
    },
    body: JSON.stringify({
      ...{ jsonrpc: "2.0", id: 1, method: "tools/call" },
      params: { name: "halves", arguments: {}, _meta: envelope(capabilities) },
    }),
  });
  const handle = JSON.stringify(await response.json());
  const taskId = /task_[0-9a-f]{32}/.exec(handle)?.[0] ?? "";
  await reached;
  server.stop();
  await server.closed;
  const token = { "dev.capstan/grant": server.permissions.mint(mine) };
  const { result } = await toTaskClient(server.connect(), {}, token).until(taskId, "completed");
  expect([entries, result]).toMatchObject([["new", 1], { structuredContent: { halves: 2 } }]);
});

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { derive } from "../../../src/permissions/derive.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import { noEnd } from "../../../src/permissions/operator.ts";
import { taskTools } from "../../conformance/fixture-tasks.ts";
import { handClock } from "../../support/clock.ts";
import { sameAs, testTool } from "../../support/door.ts";
import { envelope, type Peer } from "./peer.ts";
import { openTestServer } from "./serve.ts";
import { keysOf, type TaskClient, toTaskClient } from "./task-client.ts";

const dayMs = 24 * 60 * 60 * 1000;
const unknown = { code: -32_602, data: { code: "task.unknown" } };
const missing = {
  code: -32_021,
  data: { requiredCapabilities: { extensions: { "io.modelcontextprotocol/tasks": {} } } },
};
const yes = { action: "accept", content: { confirm: true } };

/** Ends at once, but its caller has been let go by then. */
const quick = testTool("quick", {
  async run({ text }, { detach }) {
    await detach?.();
    return { type: "done", value: { text }, ...(text === "web" ? { taint: ["web"] } : {}) };
  },
});

/** Works until it is stopped, and says so. */
function openEndless() {
  const ended = new EventTarget();
  const tool = testTool("endless", {
    timeoutMs: () => 60_000,
    async run(_args, { detach, signal, log }) {
      await detach?.();
      log({ level: "error", data: "nobody hears this" });
      await sleep(60_000, undefined, { signal }).finally(() => ended.dispatchEvent(new Event("ended")));
      return { type: "done", value: {} };
    },
  });
  return { tool, ended };
}

describe("a task", () => {
  test("is a handle at once, and has the result of its call in the end", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const client = toTaskClient(server.connect());
    const { result: handle } = await client.call("slow_compute", { seconds: 0.2 });
    const about = { taskId: expect.stringMatching(/^task_[0-9a-f]{32}$/), ttlMs: dayMs, pollIntervalMs: 1_000 };
    expect(handle).toMatchObject({ resultType: "task", status: "working", ...about });
    const taskId = String(handle?.["taskId"]);
    expect((await client.get(taskId)).result).toMatchObject({ resultType: "complete", taskId, status: "working" });
    const { result } = await client.until(taskId, "completed");
    expect(result).toMatchObject({ resultType: "complete", content: [{ text: "Computed  for 0.2 s." }] });
    expect((await client.call("greet", { name: "Ada" })).result).toMatchObject({ content: [{ text: "Hello, Ada!" }] });
  });

  test("ends when it is cancelled, and stays as it ended", async () => {
    const { tool, ended } = openEndless();
    await using server = await openTestServer({ more: [quick, tool] });
    const client = toTaskClient(server.connect());
    const taskId = await client.begin("endless");
    const stopped = once(ended, "ended");
    expect((await client.cancel(taskId)).result).toEqual({ resultType: "complete", _meta: expect.anything() });
    await stopped;
    await sleep(50);
    expect((await client.get(taskId)).result).toMatchObject({ status: "cancelled" });
    expect((await client.cancel(taskId)).error).toBeUndefined();
    const done = await client.begin("quick");
    await client.until(done, "completed");
    await client.cancel(done);
    expect((await client.get(done)).result).toMatchObject({ status: "completed" });
  });

  test("says nothing on the connection once there is a handle", async () => {
    const { tool } = openEndless();
    await using server = await openTestServer({ more: [tool] });
    const peer = server.connect();
    const meta = { "io.modelcontextprotocol/logLevel": "debug" };
    const client = toTaskClient(peer, {}, meta);
    await client.begin("endless");
    await client.call("logs");
    const told = peer.received.filter(({ method }) => method === "notifications/message");
    expect(told.map(({ params }) => params?.["data"])).toEqual(["fine", { hot: true }]);
  });

  test("brings the taint of its result to whoever reads it", async () => {
    await using server = await openTestServer({ more: [quick] });
    const client = toTaskClient(server.connect());
    const taskId = await client.begin("quick", { text: "web" });
    await sleep(50);
    expect((await client.call("move", { from: "a" })).result).toMatchObject({ structuredContent: { from: "a" } });
    await client.until(taskId, "completed");
    expect((await client.call("move", { from: "b" })).result).toMatchObject({ resultType: "input_required" });
    expect(server.log).toEqual(["moved a to here"]);
  });

  test("that breaks inside has failed, and shows nothing of the inside", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const client = toTaskClient(server.connect());
    const failed = await client.until(await client.begin("protocol_error_job"), "failed");
    expect(failed).toMatchObject({ error: { code: -32_603, data: { code: "core.internal" } } });
    expect(JSON.stringify(failed)).not.toContain("breaks");
  });
});

describe("a task that asks", () => {
  test("goes on when all is answered, by the keys that are open", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const client = toTaskClient(server.connect());
    const taskId = await client.begin("multi_input");
    expect(keysOf(await client.until(taskId, "input_required"))).toEqual(["first", "second"]);
    await client.update(taskId, { first: yes, third: yes });
    await client.update(taskId, { first: { action: "decline" } });
    expect(keysOf(await client.until(taskId, "input_required"))).toEqual(["second"]);
    await client.update(taskId, { second: yes });
    expect(await client.until(taskId, "completed")).toMatchObject({
      result: { content: [{ text: "Both were answered." }] },
    });
  });

  test("asks again under another key, and takes no answer twice", async () => {
    const stubborn = testTool("stubborn", {
      async run(_args, { detach, resumed }) {
        if (resumed === undefined) await detach?.();
        if (resumed?.state === 2) return { type: "done", value: resumed.responses };
        const state = resumed === undefined ? 1 : 2;
        const schema = { type: "object", properties: { confirm: { type: "boolean" } } };
        return { type: "waiting", requests: [{ id: "why", type: "form", message: "Why?", schema }], state };
      },
    });
    await using server = await openTestServer({ more: [stubborn] });
    const client = toTaskClient(server.connect());
    const taskId = await client.begin("stubborn");
    await client.until(taskId, "input_required");
    await client.update(taskId, { why: yes });
    expect(keysOf(await client.until(taskId, "input_required"))).toEqual(["why-2"]);
    await client.update(taskId, { why: { action: "cancel" } });
    expect(keysOf(await client.until(taskId, "input_required"))).toEqual(["why-2"]);
    await client.update(taskId, { "why-2": yes });
    const { result } = await client.until(taskId, "completed");
    expect(result).toMatchObject({ structuredContent: { why: yes } });
  });

  test("fails where its client can't be asked, and says which capability is missing", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const client = toTaskClient(server.connect(), {});
    const { error } = await client.until(await client.begin("confirm_delete", { filename: "a" }), "failed");
    expect(error).toMatchObject({ code: -32_021, data: { requiredCapabilities: { elicitation: { form: {} } } } });
  });

  test("can be answered by a process that did not begin it", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const first = server.connect();
    const client = toTaskClient(first);
    const taskId = await client.begin("confirm_delete", { filename: "a" });
    await client.until(taskId, "input_required");
    first.hangUp();
    await first.ended;
    const next = toTaskClient(server.connect());
    await next.update(taskId, { confirm: yes });
    expect(await next.until(taskId, "completed")).toMatchObject({ result: { content: [{ text: "Deleted a." }] } });
  });
});

describe("a task of somebody else", () => {
  /** An endless task of a token, and clients of other grants. */
  async function openOthers() {
    const { tool, ended } = openEndless();
    const server = await openTestServer({ more: [tool] });
    const { permissions, grant } = server;
    const peer: Peer = server.connect();
    const as = (own: Grant): TaskClient => toTaskClient(peer, {}, { "dev.capstan/grant": permissions.mint(own) });
    const child = (id: string, of: Grant): Grant => derive(of, sameAs(of), { id, now: permissions.now() });
    const mine = child("mine", grant);
    const taskId = await as(mine).begin("endless");
    return { server, peer, as, child, mine, taskId, ended, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  }

  test("does not exist for another user, whatever it asks, and does for its own (B24)", async () => {
    await using at = await openOthers();
    const { server, as, mine, taskId } = at;
    const principal = { ...server.grant.principal, user: "mallory" };
    const mallory = as({ ...server.grant, id: "theirs", principal });
    const none = await mallory.get(`task_${"0".repeat(32)}`);
    expect(none.error).toMatchObject(unknown);
    const tries = [await mallory.get(taskId), await mallory.update(taskId, {}), await mallory.cancel(taskId)];
    for (const { error } of tries) expect(error).toEqual(none.error);
    const refused = (await server.audit()).filter(({ entry }) => entry.user === "mallory" && entry.name === taskId);
    expect(refused.map(({ entry }) => [entry.action, entry.decision, entry.reason])).toEqual(
      ["tasks/get", "tasks/update", "tasks/cancel"].map((action) => [action, "deny", "task.unknown"]),
    );
    expect((await as(mine).get(taskId)).result).toMatchObject({ status: "working" });
  });

  test("does not exist for a token beside or below its own, and does for what stands above", async () => {
    await using at = await openOthers();
    const { peer, as, child, mine, server, taskId } = at;
    expect((await as(child("beside", server.grant)).cancel(taskId)).error).toMatchObject(unknown);
    expect((await as(child("below", mine)).cancel(taskId)).error).toMatchObject(unknown);
    expect((await as(mine).get(taskId)).result).toMatchObject({ status: "working" });
    expect((await toTaskClient(peer).cancel(taskId)).result).toBeDefined();
    expect((await as(mine).get(taskId)).result).toMatchObject({ status: "cancelled" });
  });

  test("does not exist for a token that was revoked", async () => {
    await using at = await openOthers();
    const { server, as, mine, taskId } = at;
    await server.permissions.revoke("mine", "lost");
    expect((await as(mine).get(taskId)).error).toMatchObject({ data: { code: "token.revoked" } });
  });
});

describe("a client that does not know tasks", () => {
  test("waits for the end, and is told what it lacks where that can't be", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const peer = server.connect();
    const request = (method: string, params: object) => peer.request(method, { ...params, _meta: envelope() });
    expect((await peer.call("slow_compute", { seconds: 0 }, envelope())).result).toMatchObject({ content: [{}] });
    expect((await peer.call("failing_job", {}, envelope())).error).toMatchObject(missing);
    for (const method of ["tasks/get", "tasks/update", "tasks/cancel"]) {
      expect((await request(method, { taskId: "task_1", inputResponses: {} })).error).toMatchObject(missing);
    }
    const notifications = { taskIds: ["task_1"] };
    expect((await request("subscriptions/listen", { notifications })).error).toMatchObject(missing);
  });

  test("of an older revision gets no handle, even if it asks for one", async () => {
    await using server = await openTestServer({ more: taskTools() });
    const peer = server.connect();
    await peer.initialize();
    const meta = envelope(missing.data.requiredCapabilities);
    expect((await peer.call("slow_compute", { seconds: 0 }, meta)).result).toMatchObject({ content: [{}] });
    expect((await peer.call("failing_job", {})).result).toMatchObject({ isError: true });
    expect((await peer.request("tasks/get", { taskId: "task_1" })).error).toMatchObject({ code: -32_601 });
  });
});

describe("what is kept of tasks", () => {
  test("is bounded for each user, however many come at once, and goes after a day", async () => {
    const clock = handClock();
    await using server = await openTestServer({ more: [quick], clock });
    const grant = { ...server.grant, expiresAt: noEnd };
    const client = toTaskClient(server.connect(grant));
    const flood = await Promise.all(Array.from({ length: 520 }, () => client.call("quick")));
    const begun = flood.filter(({ result }) => result?.["resultType"] === "task");
    const refused = flood.filter(({ result }) => result?.isError === true);
    expect([begun.length, refused.length]).toEqual([500, 20]);
    expect(refused[0]?.result).toMatchObject({ _meta: { "dev.capstan/code": "task.too_many" } });
    const principal = { ...grant.principal, user: "neighbour" };
    const neighbour = toTaskClient(server.connect({ ...grant, id: "neighbour", principal }));
    await neighbour.begin("quick");

    const taskId = String(begun[0]?.result?.["taskId"]);
    clock.advance(dayMs - 1);
    await client.until(taskId, "completed");
    clock.advance(1);
    expect((await client.get(taskId)).error).toMatchObject(unknown);
    await client.begin("quick");
    expect(await server.store.records(grant.scope, "task")).toHaveLength(2);
  });
});

describe("another process of the home", () => {
  test("leaves a task to the one that works on it, and may cancel it there", async () => {
    const { tool, ended } = openEndless();
    await using server = await openTestServer({ more: [tool] });
    const taskId = await toTaskClient(server.connect()).begin("endless");
    const other = toTaskClient(server.connect());
    expect((await other.get(taskId)).result).toMatchObject({ status: "working" });
    const stopped = once(ended, "ended");
    await other.cancel(taskId);
    await stopped;
    expect((await other.get(taskId)).result).toMatchObject({ status: "cancelled" });
  });

  test("says of a task that went with its process that nobody knows what it did", async () => {
    const { tool } = openEndless();
    await using server = await openTestServer({ more: [tool] });
    const first = server.connect();
    const taskId = await toTaskClient(first).begin("endless");
    first.hangUp();
    await first.ended;
    const { error } = await toTaskClient(server.connect()).until(taskId, "failed");
    expect(error).toMatchObject({ code: -32_603, data: { code: "core.interrupted" } });
  });
});

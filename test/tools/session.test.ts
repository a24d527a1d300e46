import { afterAll, describe, expect, test } from "vitest";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { handClock } from "../support/clock.ts";
import { testTool } from "../support/door.ts";
import { openTestSessions } from "../support/sessions.ts";
import { holdOpening, openGate, openSessionDoor } from "./session-door.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const engines = [engine];

const minuteMs = 60_000;
/** Remembers how often it ran. */
const count = "globalThis.count = (globalThis.count ?? 0) + 1";

describe("a session of execute_code", () => {
  test("keeps variables and files from call to call, and gives back the files that a call made or changed", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const files = [{ path: "in.txt", text: "é" }];
    const first = await capstan.run("work", `files.write("a.txt", "1"); files.write("b.txt", "1"); ${count}`, {
      args: { files },
    });
    expect(first).toMatchObject({ status: "ok", result: 1, session: { isNew: true, isOver: false } });
    expect(first.session).not.toHaveProperty("note");
    expect(first.artifacts.map(({ path }) => path)).toEqual(["a.txt", "b.txt"]);
    const second = await capstan.run("work", `files.write("b.txt", "2"); [${count}, files.read("in.txt")]`);
    expect(second).toMatchObject({ result: [2, "é"], session: { isNew: false, isOver: false } });
    expect(second.artifacts).toMatchObject([{ path: "b.txt", text: "2" }]);
    const typed = await capstan.run("work", `const n: number = ${count}; n`, { args: { language: "typescript" } });
    expect(typed).toMatchObject({ result: 3, artifacts: [], session: { isNew: false } });
    expect(await capstan.run("other", count)).toMatchObject({ result: 1, session: { isNew: true } });
    const without = await capstan.call("execute_code", { language: "javascript", code: count });
    expect(without.outcome).toMatchObject({ value: { result: 1 } });
    expect(without.outcome).not.toHaveProperty("value.session");
    expect(await capstan.list()).toMatchObject([
      { name: "other", variables: "here", files: 0 },
      { name: "work", variables: "here", files: 2, bytes: 2, language: "javascript" },
    ]);
  });

  test("is lost with what a call does to it, which that call and the next are told; its files and its neighbour are not", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    await capstan.run("work", `files.write("a.txt", "kept"); ${count}`);
    await capstan.run("other", count);
    const lost = await capstan.run("work", `files.write("a.txt", "half"); for (;;);`, { args: { timeoutMs: 300 } });
    expect(lost).toMatchObject({ status: "timeout", session: { isNew: false, isOver: true } });
    expect(lost.session?.note).toContain("its last call ended as timeout");
    const next = await capstan.run("work", `[${count}, files.read("a.txt")]`);
    expect(next).toMatchObject({ result: [1, "kept"], artifacts: [], session: { isNew: true, isOver: false } });
    expect(next.session?.note).toBe(
      "The variables of earlier calls are gone: its last call ended as timeout. Its file is there.",
    );
    expect((await capstan.run("work", count)).session).toEqual({ isNew: false, isOver: false });
    expect(await capstan.run("other", count)).toMatchObject({ result: 2, session: { isNew: false } });
  });

  test("keeps its files beyond its process, and says that the variables are gone", async () => {
    await using home = await openTestArtifacts();
    await using before = await openSessionDoor({ engines, home });
    await before.run("work", `files.write("sub/a.txt", "1"); files.write("b.txt", "1"); ${count}`);
    await before.run("work", `files.write("sub/a.txt", "two"); 0`);
    await before[Symbol.asyncDispose]();
    await using after = await openSessionDoor({ engines, home });
    expect(await after.list()).toMatchObject([
      { name: "work", variables: "gone", why: "Capstan was ended", files: 2, bytes: 4 },
    ]);
    const next = await after.run("work", `[${count}, files.list(), files.read("sub/a.txt")]`);
    expect(next).toMatchObject({ result: [1, ["b.txt", "sub/a.txt"], "two"], artifacts: [], session: { isNew: true } });
    expect(next.session?.note).toBe(
      "The variables of earlier calls are gone: Capstan was ended. Its 2 files are there.",
    );
  });

  test("goes to whichever process runs it last: the other finds out, and loses nothing that was on record", async () => {
    await using home = await openTestArtifacts();
    const gate = openGate();
    await using one = await openSessionDoor({ engines, home, others: [gate.tool] });
    await using other = await openSessionDoor({ engines, home });
    await one.run("work", `files.write("a.txt", "one"); ${count}`);
    expect(await other.list()).toMatchObject([{ name: "work", variables: "elsewhere" }]);
    const taken = await other.run("work", `[${count}, files.read("a.txt")]`);
    expect(taken).toMatchObject({ result: [1, "one"], session: { isNew: true } });
    expect(taken.session?.note).toContain("in a process of Capstan that has ended or is another");
    await other.run("work", `files.write("a.txt", "other"); 0`);
    const late = await one.run("work", `[${count}, files.read("a.txt")]`);
    expect(late).toMatchObject({ result: [1, "other"], session: { isNew: true } });
    expect(late.session?.note).toContain("another process of Capstan used it");
    const slow = one.run("work", `files.write("a.txt", "slow"); await tools.gate({}); 0`);
    await gate.reached;
    await other.run("work", `files.write("a.txt", "quick"); 0`);
    gate.open();
    const conflict = await slow;
    expect(conflict).toMatchObject({ status: "ok", session: { isOver: true } });
    expect(conflict.session?.note).toBe(
      "The variables of this session are lost: another process of Capstan used it at the same time, so it did not keep the files of this call.",
    );
    expect(await other.run("work", `files.read("a.txt")`)).toMatchObject({
      result: "quick",
      session: { isNew: false },
    });
  });

  test("has one run at a time: others wait, and too many are refused", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const slow = `var found = ${count}; await new Promise((done) => setTimeout(done, 20)); found`;
    const runs = await Promise.all(Array.from({ length: 12 }, () => capstan.run("work", slow)));
    expect(runs.map(({ result }) => result).filter((result) => result !== null)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(runs.filter(({ status }) => status === "session.busy")).toHaveLength(3);
    expect(await capstan.run("work", count)).toMatchObject({ result: 10 });
  });

  test("outlives a call that is cancelled while it waits, and not one that is cancelled while it runs", async () => {
    await using home = await openTestArtifacts();
    const gates = [openGate(), openGate()] as const;
    const others = gates.map(({ tool }, index) => ({ ...tool, name: `gate${index}` }));
    await using capstan = await openSessionDoor({ engines, home, others });
    await capstan.run("work", count);
    const running = capstan.run("work", `await tools.gate0({}); ${count}`);
    await gates[0].reached;
    const cancelled = expect.objectContaining({ code: "tool.cancelled" });
    await expect(capstan.run("work", count, { signal: AbortSignal.timeout(50) })).rejects.toEqual(cancelled);
    gates[0].open();
    expect(await running).toMatchObject({ result: 2 });
    expect(await capstan.run("work", count)).toMatchObject({ result: 3 });
    const ending = new AbortController();
    const spinning = capstan.run("work", "await tools.gate1({}); for (;;);", { signal: ending.signal });
    await gates[1].reached;
    ending.abort();
    await expect(spinning).rejects.toEqual(cancelled);
    const next = await capstan.run("work", count);
    expect(next).toMatchObject({ result: 1, session: { isNew: true } });
    expect(next.session?.note).toContain("cancelled");
  });

  test("speaks one language, and takes so many bytes of files", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({
      engines: [{ ...engine, languages: ["javascript", "typescript", "python"] }],
      home,
      limits: { inputBytes: 10 },
    });
    await capstan.run("work", count);
    const python = await capstan.run("work", "1", { args: { language: "python" } });
    expect(python).toMatchObject({
      status: "sandbox.bad_request",
      error: expect.stringContaining("speaks javascript"),
    });
    const given = (path: string, text: string) => ({ args: { files: [{ path, text }] } });
    expect(await capstan.run("work", count, given("a", "12345678"))).toMatchObject({ result: 2 });
    expect(await capstan.run("work", count, given("b", "123"))).toMatchObject({ status: "sandbox.bad_request" });
    expect(await capstan.run("work", count, given("a", "1234567890"))).toMatchObject({ result: 3 });
  });

  test("has effect once: a call that is made again finds what it did before", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const tool = capstan.door.find(capstan.operator, "execute_code");
    const effect = (args: object) =>
      tool?.bind({ language: "javascript", code: "1", ...args }).effect(capstan.operator);
    expect([effect({ session: "work" }), effect({})]).toEqual(["once", "idempotent"]);
  });

  test("keeps where what is in it came from, and code that runs in it has seen that", async () => {
    await using home = await openTestArtifacts();
    const hints = { readOnly: false, destructive: false, idempotent: false, openWorld: true };
    const read = testTool("read", { run: async () => ({ type: "done", value: "secret", taint: ["files"] }) });
    const others = [read, testTool("send", { hints, effect: "once" })];
    await using before = await openSessionDoor({ engines, home, others });
    const send = `try { await tools.send({ text: "x" }); "sent" } catch (error) { error.code }`;
    expect(await before.run("work", send)).toMatchObject({ result: "sent", taint: [] });
    const tainted = await before.run("work", `files.write("a.txt", await tools.read({})); 0`);
    expect(tainted.taint).toEqual(["files"]);
    expect(await before.run("work", send)).toMatchObject({ result: "permission.approval_needed", taint: ["files"] });
    expect(await before.run("clean", send)).toMatchObject({ result: "sent", taint: [] });
    await before[Symbol.asyncDispose]();
    await using after = await openSessionDoor({ engines, home, others });
    expect(await after.run("work", send)).toMatchObject({ result: "permission.approval_needed", taint: ["files"] });
    expect((await after.call("session_list", {})).taint).toEqual(["files"]);
  });
});

describe("the time and the room of sessions", () => {
  test.for([
    ["nothing used it for 10 minutes", 10 * minuteMs, 1, {}],
    ["nothing used it for 1 minute", minuteMs, 1, { idleMs: minuteMs }],
    ["nothing used it for 90 seconds", 90_000, 1, { idleMs: 90_000 }],
    ["nothing used it for 40 seconds", 40_000, 1, { idleMs: 40_000 }],
    ["it was 4 hours old", 9 * minuteMs, 27, {}],
    ["it was 90 minutes old", 9 * minuteMs, 10, { lifetimeMs: 90 * minuteMs }],
  ] as const)("it ends because %s", async ([why, stepMs, steps, limits]) => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock, limits });
    await capstan.run("work", count);
    for (let step = 1; step < steps; step += 1) {
      clock.advance(stepMs);
      expect(await capstan.run("work", count)).toMatchObject({ result: step + 1 });
    }
    clock.advance(stepMs);
    expect(await capstan.list()).toMatchObject([{ name: "work", variables: "gone", why }]);
    const next = await capstan.run("work", count);
    expect(next).toMatchObject({ result: 1, session: { isNew: true } });
    expect(next.session?.note).toContain(why);
  });

  test("it ends by itself, without anybody who asks", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home, limits: { idleMs: 1_500 } });
    await capstan.run("work", count);
    const onRecord = async () => (await home.store.records(capstan.operator.scope, "session"))[0]?.value;
    await expect.poll(onRecord).toMatchObject({ name: "work", gone: "nothing used it for 1500 ms" });
  });

  test("the one that was used longest ago makes room, and its next caller is told", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock, limits: { each: 2 } });
    for (const name of ["a", "b", "a", "c"]) {
      clock.advance(1_000);
      await capstan.run(name, count);
    }
    expect(await capstan.list()).toMatchObject([
      { name: "a", variables: "here" },
      { name: "b", variables: "gone", why: "another session needed its room" },
      { name: "c", variables: "here" },
    ]);
    expect((await capstan.run("b", count)).session?.note).toContain("another session needed its room");
  });

  test("one that runs makes no room: then there are too many", async () => {
    await using home = await openTestArtifacts();
    const gate = openGate();
    await using capstan = await openSessionDoor({ engines, home, limits: { all: 1 }, others: [gate.tool] });
    const running = capstan.run("a", `await tools.gate({}); ${count}`);
    await gate.reached;
    expect(await capstan.run("b", count)).toMatchObject({ status: "session.too_many" });
    gate.open();
    expect(await running).toMatchObject({ result: 1 });
    expect(await capstan.run("b", count)).toMatchObject({ result: 1 });
  });

  test("all of a user share so much memory", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock, limits: { memoryBytes: 20 * 1024 * 1024 } });
    await capstan.run("a", count);
    clock.advance(1_000);
    await capstan.run("b", `var kept = new Uint8Array(18 << 20); 0`);
    expect(await capstan.list()).toMatchObject([
      { name: "a", variables: "gone", why: "another session needed its memory" },
      { name: "b", variables: "here" },
    ]);
  });

  test("so many are on record, and for so long", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock, limits: { kept: 2, each: 1 } });
    for (const name of ["a", "b", "c"]) {
      clock.advance(1_000);
      await capstan.run(name, `files.write("f", "${name}"); 0`);
    }
    expect((await capstan.list()).map(({ name }) => name)).toEqual(["b", "c"]);
    const files = await home.store.records(capstan.operator.scope, "session-file");
    expect(files).toHaveLength(2);
    clock.advance(8 * 86_400_000);
    expect(await capstan.list()).toEqual([]);
    expect((await capstan.run("b", "files.list()")).result).toEqual([]);
    expect(await home.store.records(capstan.operator.scope, "session-file")).toEqual([]);
  });

  test("one that is just being opened again does not make room on record for another", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    const opening = holdOpening(engine);
    await using before = await openSessionDoor({ engines, home, clock });
    for (const name of ["a", "b"]) {
      clock.advance(1_000);
      await before.run(name, `files.write("f", "${name}"); 0`);
    }
    await before[Symbol.asyncDispose]();
    await using after = await openSessionDoor({ engines: [opening.engine], home, clock, limits: { kept: 2 } });
    const reopened = after.run("a", `files.read("f")`);
    await opening.reached;
    expect(await after.run("c", count)).toMatchObject({ result: 1 });
    opening.open();
    expect(await reopened).toMatchObject({ status: "ok", result: "a" });
    expect((await after.list()).map(({ name }) => name)).toEqual(["a", "c"]);
  });

  test("that are too old go with the first call of an hour, whoever's they are, and with a sweep; the others stay", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock, limits: { keptMs: 2 * 3_600_000 } });
    const { scope } = capstan.operator;
    const bob = { org: capstan.operator.principal.org, user: "bob" };
    const theirs = { by: { principal: bob, grant: { ...capstan.operator, principal: bob } } };
    const write = (session: string, over = {}) => capstan.run(session, `files.write("f", "${session}"); 0`, over);
    const onRecord = async (): Promise<number> => (await home.store.records(scope, "session-file")).length;
    await write("old", theirs);
    clock.advance(3_600_000);
    await write("newer", theirs);
    expect(await onRecord()).toBe(2);
    clock.advance(3_600_000);
    await write("mine");
    expect(await onRecord()).toBe(2);
    expect((await capstan.list(theirs)).map(({ name }) => name)).toEqual(["newer"]);
    clock.advance(3_600_000 - 1);
    await using other = openTestSessions(home.store, clock, { keptMs: 2 * 3_600_000 });
    await other.sweep(scope);
    expect(await onRecord()).toBe(2);
    clock.advance(1);
    await other.sweep(scope);
    expect(await onRecord()).toBe(1);
    expect((await capstan.run("mine", "files.list()")).result).toEqual(["f"]);
  });
});

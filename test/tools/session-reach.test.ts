import { setImmediate as turn } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { CapstanError } from "../../src/core/error.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import type { Store } from "../../src/store/store.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { handClock } from "../support/clock.ts";
import { testTool } from "../support/door.ts";
import { holdOpening, openGate, openSessionDoor } from "./session-door.ts";

const engine = openQuickjsEngine();
afterAll(() => engine[Symbol.asyncDispose]());
const engines = [engine];
const minuteMs = 60_000;
const count = "globalThis.count = (globalThis.count ?? 0) + 1";

describe("who gets at a session", () => {
  test("the grant that began it, and neither its neighbours nor what is derived from it nor what it is derived from", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const token = capstan.token("grant-a");
    const neighbour = capstan.token("grant-b");
    const child = capstan.token("grant-c", {}, token);
    await capstan.run("work", `files.write("secret.txt", "x"); ${count}`, { by: { grant: token } });
    for (const grant of [neighbour, child, capstan.operator]) {
      const other = await capstan.run("work", `[${count}, files.list()]`, { by: { grant } });
      expect(other).toMatchObject({ result: [1, []], session: { isNew: true } });
      expect(other.session).not.toHaveProperty("note");
    }
    expect(await capstan.run("work", count, { by: { grant: token } })).toMatchObject({ result: 2 });
  });

  test("code that a call leaves has only what the next call of the same grant has", async () => {
    await using home = await openTestArtifacts();
    const others = [testTool("look"), testTool("hidden")];
    await using capstan = await openSessionDoor({ engines, home, others });
    const wide = capstan.token("grant-wide");
    const tools = wide.rights.tools.filter(({ name }) => name !== "hidden");
    const narrow = capstan.token("grant-narrow", { tools }, wide);
    const trap = `globalThis.JSON.parse = () => "trapped"; var look = tools.look; var hidden = tools.hidden; 0`;
    await capstan.run("work", trap, { by: { grant: narrow } });
    const used = `try { await hidden({}) } catch (error) { error.code }`;
    expect(await capstan.run("work", used, { by: { grant: narrow } })).toMatchObject({ result: "tool.unknown" });
    expect(await capstan.run("work", `await look({ text: "x" })`, { by: { grant: narrow } })).toMatchObject({
      result: { text: "x" },
    });
    const free = `[typeof hidden, JSON.parse("1"), await tools.hidden({ text: "y" })]`;
    expect(await capstan.run("work", free, { by: { grant: wide } })).toMatchObject({
      result: ["undefined", 1, { text: "y" }],
    });
  });

  test("a list shows what was begun under a grant and below it; ending is for those too, and the rest is unknown", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const token = capstan.token("grant-a");
    const neighbour = capstan.token("grant-b");
    const child = capstan.token("grant-c", {}, token);
    for (const [name, grant] of [
      ["own", token],
      ["below", child],
      ["beside", neighbour],
      ["top", capstan.operator],
    ] as const) {
      await capstan.run(name, `files.write("a", "1"); ${count}`, { by: { grant } });
    }
    const names = async (grant: typeof token) => (await capstan.list({ by: { grant } })).map(({ name }) => name);
    expect(await names(child)).toEqual(["below"]);
    expect(await names(token)).toEqual(["below", "own"]);
    expect(await names(neighbour)).toEqual(["beside"]);
    expect(await names(capstan.operator)).toEqual(["below", "beside", "own", "top"]);

    const all = await capstan.list();
    const idOf = (wanted: string) => all.find(({ name }) => name === wanted)?.id ?? "";
    const unknown = { isError: true, code: "session.unknown" };
    for (const hidden of ["own", idOf("own"), "beside", idOf("beside"), "never", "session_0"]) {
      expect(await capstan.end(hidden, { by: { grant: child } })).toMatchObject(unknown);
    }
    // By its name a session is only its own grant's.
    expect(await capstan.end("below", { by: { grant: token } })).toMatchObject(unknown);
    expect(await capstan.end(idOf("below"), { by: { grant: token } })).toMatchObject({
      value: { ended: { name: "below" } },
    });
    expect(await capstan.end("own", { by: { grant: token } })).toMatchObject({
      value: { ended: { variables: "here" } },
    });
    expect(await capstan.end("own", { by: { grant: token } })).toMatchObject(unknown);
    expect(await capstan.run("own", `[${count}, files.list()]`, { by: { grant: token } })).toMatchObject({
      result: [1, []],
      session: { isNew: true },
    });
    expect(await names(capstan.operator)).toEqual(["beside", "own", "top"]);
  });

  test("a grant that names sessions reaches those, sees those and ends those", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const token = capstan.token("grant-a", { sessions: ["mine"] });
    const none = capstan.token("grant-b", { sessions: [] }, token);
    const by = { grant: token };
    const refused = expect.objectContaining({ code: "permission.no_right" });
    expect(await capstan.run("mine", count, { by })).toMatchObject({ result: 1 });
    await expect(capstan.run("other", count, { by })).rejects.toEqual(refused);
    await expect(capstan.run("mine", count, { by: { grant: none } })).rejects.toEqual(refused);
    await capstan.run("other", count, { by: { grant: none }, args: { session: undefined } });
    expect(await capstan.list({ by })).toMatchObject([{ name: "mine" }]);
    expect(await capstan.list({ by: { grant: none } })).toEqual([]);
  });

  test("another project has other sessions", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const scope = { org: "local", project: "other" };
    const by = { scope, grant: { ...capstan.operator, scope } };
    await capstan.run("work", count);
    expect(await capstan.run("work", count, { by })).toMatchObject({ result: 1, session: { isNew: true } });
    expect(await capstan.end("work", { by })).toMatchObject({ value: { ended: { name: "work" } } });
    expect(await capstan.run("work", count)).toMatchObject({ result: 2, session: { isNew: false } });
  });

  test("another user has other sessions", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const principal = { org: "local", user: "other" };
    const by = { principal, grant: { ...capstan.operator, principal } };
    await capstan.run("work", count);
    expect(await capstan.list({ by })).toEqual([]);
    expect(await capstan.run("work", count, { by })).toMatchObject({ result: 1, session: { isNew: true } });
    expect(await capstan.end("work", { by })).toMatchObject({ value: { ended: { name: "work" } } });
    expect(await capstan.run("work", count)).toMatchObject({ result: 2 });
  });

  test("what came in is not forgotten where it could not be put on record", async () => {
    await using home = await openTestArtifacts();
    let isFull = false;
    const store: Store = {
      ...home.store,
      async commit(batch) {
        if (isFull) throw new CapstanError("store.full", "The disk is full.");
        await home.store.commit(batch);
      },
    };
    const read = testTool("read", { run: async () => ({ type: "done", value: "secret", taint: ["files"] }) });
    await using capstan = await openSessionDoor({ engines, home: { ...home, store }, others: [read] });
    await capstan.run("work", count);
    isFull = true;
    expect(await capstan.run("work", `var kept = await tools.read({}); 0`)).toMatchObject({ status: "store.full" });
    isFull = false;
    expect(await capstan.run("work", "kept")).toMatchObject({ result: "secret", taint: ["files"] });
  });

  test("a session ends with its grant", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock });
    const token = capstan.token("grant-a", {}, capstan.operator, clock() + 5 * minuteMs);
    await capstan.run("work", count, { by: { grant: token } });
    clock.advance(5 * minuteMs - 1);
    expect(await capstan.list()).toMatchObject([{ variables: "here" }]);
    clock.advance(1);
    expect(await capstan.list()).toMatchObject([{ variables: "gone", why: "its grant has ended" }]);
  });

  test("code can't use the session that it runs in, and waits for nothing", async () => {
    await using home = await openTestArtifacts();
    await using capstan = await openSessionDoor({ engines, home });
    const nested = `tools.execute_code({ language: "javascript", code: "globalThis.x = 1; files.list()", session: "work" })`;
    const ran = await capstan.run(
      "work",
      `files.write("a", "1"); var answer = await ${nested}; [answer.result, answer.session.isNew, globalThis.x]`,
    );
    expect(ran).toMatchObject({ status: "ok", result: [[], true, null] });
  });

  test("a session that is ended while it runs ends its run, which says so", async () => {
    await using home = await openTestArtifacts();
    const gate = openGate();
    await using capstan = await openSessionDoor({ engines, home, others: [gate.tool] });
    await capstan.run("work", `files.write("a", "1"); 0`);
    const running = capstan.run("work", "await tools.gate({}); for (;;);");
    await gate.reached;
    expect(await capstan.end("work")).toMatchObject({ value: { ended: { name: "work" } } });
    const ended = await running;
    expect(ended).toMatchObject({ status: "cancelled", session: { isOver: true } });
    expect(ended.session?.note).toContain("it was ended");
    expect((await capstan.run("work", "files.list()")).result).toEqual([]);
  });

  test("a session of another version of Capstan hides no others, and stays for that", async () => {
    await using home = await openTestArtifacts();
    const clock = handClock();
    await using capstan = await openSessionDoor({ engines, home, clock });
    const { scope } = capstan.operator;
    await capstan.run("mine", count);
    await capstan.run("theirs", count);
    const found = (await home.store.records(scope, "session")).find(({ key }) => key.endsWith("/theirs"));
    if (found === undefined) throw new Error("The session is not on record.");
    const newer = { ...z.record(z.string(), z.json()).parse(found.value), colour: "red" };
    await home.store.commit({ scope, records: [{ kind: "session", key: found.key, value: newer }] });
    expect(await capstan.list()).toMatchObject([{ name: "mine" }]);
    expect(await capstan.run("mine", count)).toMatchObject({ result: 2 });
    expect(await capstan.run("other", count)).toMatchObject({ result: 1 });
    const refused = await capstan.run("theirs", count);
    expect(refused).toMatchObject({ status: "store.newer", error: expect.stringContaining("Use another name") });
    clock.advance(8 * 86_400_000);
    expect(await capstan.run("mine", count)).toMatchObject({ result: 1 });
    expect((await home.store.record(scope, "session", found.key))?.value).toEqual(newer);
  });

  test("a session that is ended while a call waits for it is begun anew by that call", async () => {
    await using home = await openTestArtifacts();
    const gate = openGate();
    await using capstan = await openSessionDoor({ engines, home, others: [gate.tool] });
    const running = capstan.run("work", `files.write("a", "1"); await tools.gate({}); for (;;);`);
    await gate.reached;
    const waiting = Promise.all([1, 2].map(() => capstan.run("work", `[${count}, files.list()]`)));
    for (let turns = 0; turns < 100; turns += 1) await turn();
    expect(await capstan.end("work")).toMatchObject({ value: { ended: { variables: "here" } } });
    expect(await running).toMatchObject({ status: "cancelled", session: { isOver: true } });
    const [first, second] = await waiting;
    expect(first).toMatchObject({ result: [1, []] });
    expect(first?.session).toEqual({ isNew: true, isOver: false });
    expect(second).toMatchObject({ result: [2, []], session: { isNew: false } });
  });

  test("a session that is ended while a call opens it again is gone for that call, and for good", async () => {
    await using home = await openTestArtifacts();
    const opening = holdOpening(engine);
    await using before = await openSessionDoor({ engines, home });
    await before.run("work", `files.write("a", "1"); 0`);
    await before[Symbol.asyncDispose]();
    await using after = await openSessionDoor({ engines: [opening.engine], home });
    const reopened = after.run("work", "for (;;);");
    await opening.reached;
    const ended = after.end("work");
    for (let turns = 0; turns < 100; turns += 1) await turn();
    opening.open();
    expect(await ended).toMatchObject({ value: { ended: { name: "work" } } });
    const gone = await reopened;
    expect(["cancelled", "session.busy"]).toContain(gone.status);
    expect(JSON.stringify(gone)).toContain("it was ended");
    expect(await after.list()).toEqual([]);
    expect(await home.store.records(after.operator.scope, "session-file")).toEqual([]);
    expect(await after.run("work", "files.list()")).toMatchObject({ result: [], session: { isNew: true } });
  });
});

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { grantKey } from "../../../src/server/mcp/grants.ts";
import { type Message, textOf } from "./peer.ts";
import { openTestServer } from "./serve.ts";

const namesOf = ({ result }: Message): readonly string[] => (result?.tools ?? []).map(({ name }) => name);

describe("a grant over MCP", () => {
  test("lists what it allows; a tool that is hidden answers like one that does not exist (B16)", async () => {
    await using server = await openTestServer();
    const peer = server.connect(server.withRights("narrow", { tools: server.rightsTo(["echo", "steps"]) }));
    await peer.initialize();
    expect(namesOf(await peer.request("tools/list"))).toEqual(["echo", "steps"]);

    const hidden = await peer.call("move", { from: "a" });
    const missing = await peer.call("mvoe", { from: "a" });
    expect(hidden.result).toBeUndefined();
    expect(hidden.error?.code).toBe(-32602);
    expect(JSON.stringify(hidden.error).replaceAll("move", "X")).toBe(
      JSON.stringify(missing.error).replaceAll("mvoe", "X"),
    );
    expect(server.log).toEqual([]);
    expect((await peer.call("echo", { text: "lawful" })).result?.structuredContent).toEqual({ text: "lawful" });
  });

  test.each(["__proto__", "constructor", "ECHO", "echo ", "evil/echo", "", "e\u0441ho"])(
    "knows no tool called %j",
    async (name) => {
      await using server = await openTestServer();
      const peer = server.connect();
      await peer.initialize();
      expect((await peer.call(name)).error?.code).toBe(-32602);
      expect((await peer.call("echo")).result?.isError).toBeUndefined();
    },
  );

  test("answers for what it does not hold as for what does not exist, whatever the method (B17)", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const lists = ["resources/list", "prompts/list", "resources/templates/list"];
    const listed = await Promise.all(lists.map((method) => peer.request(method)));
    expect(listed.map(({ result }) => result)).toMatchObject([{ resources: [] }, { prompts: [] }, {}]);
    const ask = async (uri: string, name: string) => {
      const ref = { type: "ref/prompt", name };
      const answers = await Promise.all([
        peer.request("resources/read", { uri }),
        peer.request("prompts/get", { name }),
        peer.request("completion/complete", { ref, argument: { name: "city", value: "" } }),
      ]);
      return answers.map(({ error }) => JSON.stringify(error).replaceAll(uri, "URI").replaceAll(name, "NAME"));
    };
    const there = await ask("test://notes/1", "weather");
    expect(there).toEqual(await ask("test://notes/none", "nothing"));
    expect(there.join()).toMatch(/resource\.unknown.*prompt\.unknown.*prompt\.unknown/);
  });

  test("offers no method of the protocol that it does not serve (B17)", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const unknown = await peer.request("no/such");
    expect(unknown.error?.code).toBe(-32601);
    const methods = ["tasks/list", "tasks/get", "tasks/cancel"];
    const answers = await Promise.all(methods.map((method) => peer.request(method, { taskId: "1" })));
    expect(answers.map(({ error }) => error)).toEqual(methods.map(() => unknown.error));
  });

  test("refuses arguments beyond it as a result that a model can read; nothing is executed (B21)", async () => {
    await using server = await openTestServer();
    const rule = { name: "from", rule: { type: "exact", value: "inside" }, optional: false } as const;
    const [right] = server.rightsTo(["move"]);
    if (right === undefined) throw new Error("the test has no tool to narrow");
    const to = { name: "to", rule: { type: "exact", value: "here" }, optional: true } as const;
    const peer = server.connect(server.withRights("narrow", { tools: [{ ...right, args: [rule, to] }] }));
    await peer.initialize();
    const refused = await peer.call("move", { from: "outside" });
    expect(refused.result?.isError).toBe(true);
    expect(textOf(refused)).toMatch(/^permission\.argument_refused: /);
    expect(server.log).toEqual([]);
    expect((await peer.call("move", { from: "inside" })).result?.isError).toBeUndefined();
    expect(server.log).toEqual(["moved inside to here"]);
  });
});

describe("an argument that could be read in two ways (B19)", () => {
  /** A connection whose grant moves only what lies under /srv/project, and the raw text of a call. */
  async function openMoves() {
    const server = await openTestServer();
    const [right] = server.rightsTo(["move"]);
    if (right === undefined) throw new Error("the test has no tool to narrow");
    const args = [
      { name: "from", rule: { type: "path", under: "/srv/project" }, optional: false },
      { name: "to", rule: { type: "any" }, optional: true },
    ] as const;
    const peer = server.connect(server.withRights("narrow", { tools: [{ ...right, args: [...args] }] }));
    await peer.initialize();
    const move = (text: string) => {
      peer.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"move","arguments":${text}}}`);
      return peer.waitFor(({ id, error }) => id === 1 || error !== undefined);
    };
    return { server, move, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  }

  test("by its escapes is checked as it runs", async () => {
    await using moves = await openMoves();
    expect((await moves.move(String.raw`{"from":"/srv/project/\u0061"}`)).result?.isError).toBeUndefined();
    expect(moves.server.log).toEqual(["moved /srv/project/a to here"]);
  });

  test.each([
    ["dots as escapes", String.raw`{"from":"/srv/project/\u002e\u002e/secret"}`],
    ["a slash as an escape", String.raw`{"from":"/srv/project\u002f..\u002fsecret"}`],
    ["the lawful value first, another behind it", '{"from":"/srv/project/a","from":"/etc/passwd"}'],
    ["the lawful value last", '{"from":"/etc/passwd","from":"/srv/project/a"}'],
    ["a twin whose key is escaped", String.raw`{"from":"/srv/project/a","fro\u006d":"/etc/passwd"}`],
    ["a twin in capitals", '{"from":"/srv/project/a","FROM":"/etc/passwd"}'],
    ["a prototype", '{"from":"/srv/project/a","__proto__":{"to":"/etc"}}'],
  ])("is refused: %s", async (_what, args) => {
    await using moves = await openMoves();
    const { result, error } = await moves.move(args);
    expect(result?.isError === true || error?.code === -32600).toBe(true);
    expect(moves.server.log).toEqual([]);
  });
});

describe("a token in _meta", () => {
  test("alone decides where the process has only the operator's default", async () => {
    await using server = await openTestServer();
    const peer = server.connect(server.withRights("default", { tools: server.rightsTo(["echo"]) }));
    const token = server.permissions.mint(server.withRights("other", { tools: server.rightsTo(["steps"]) }));
    await peer.initialize();
    expect(namesOf(await peer.request("tools/list", { _meta: { [grantKey]: token } }))).toEqual(["steps"]);
    expect((await peer.call("echo", {}, { [grantKey]: token })).error?.code).toBe(-32602);
    expect(namesOf(await peer.request("tools/list"))).toEqual(["echo"]);
  });

  test("only narrows what the process was started with, and is charged on both", async () => {
    await using server = await openTestServer();
    const own = { ...server.withRights("own", { tools: server.rightsTo(["echo", "steps"]) }), limits: { calls: 2 } };
    const peer = server.connect(own, true);
    const token = server.permissions.mint(server.withRights("wide", { tools: server.rightsTo(["echo", "move"]) }));
    await peer.initialize();
    expect(namesOf(await peer.request("tools/list", { _meta: { [grantKey]: token } }))).toEqual(["echo"]);
    for (const name of ["move", "steps"])
      expect((await peer.call(name, {}, { [grantKey]: token })).error?.code).toBe(-32602);

    expect((await peer.call("echo", {}, { [grantKey]: token })).result?.isError).toBeUndefined();
    expect((await peer.call("echo")).result?.isError).toBeUndefined();
    expect(textOf(await peer.call("echo"))).toMatch(/^budget\.calls: /);
    expect(textOf(await peer.call("echo", {}, { [grantKey]: token }))).toMatch(/^budget\.calls: /);
  });

  test.each([
    ["empty", () => "", "token.malformed"],
    ["no text", () => 42, "token.malformed"],
    ["null", () => null, "token.malformed"],
    ["garbage", () => "a.b.c", "token.malformed"],
    ["another's signature", (token: string) => `${token.slice(0, -8)}AAAAAAAA`, "token.bad_signature"],
  ])("that is %s refuses and never falls back to what the process holds (B49)", async (_what, spoil, code) => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const presented = spoil(server.permissions.mint(server.grant));
    const called = await peer.call("move", { from: "a" }, { [grantKey]: presented });
    expect(called.result).toMatchObject({ isError: true, _meta: { "dev.capstan/code": code } });
    const listed = await peer.request("tools/list", { _meta: { [grantKey]: presented } });
    expect(listed.error).toMatchObject({ code: -32602, data: { code } });
    expect(server.log).toEqual([]);

    const rows = await server.audit();
    expect(rows.map(({ entry }) => [entry.action, entry.name, entry.decision, entry.reason])).toEqual([
      ["tools/call", "move", "deny", code],
      ["tools/list", "", "deny", code],
    ]);
    expect((await peer.call("move", { from: "a" })).result?.isError).toBeUndefined();
  });

  test.each([
    ["has expired", "token.expired"],
    ["was revoked", "token.revoked"],
  ])("that %s while the connection lives refuses from then on (B49)", async (_what, code) => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    const lifeMs = code === "token.expired" ? 700 : 60_000;
    const expiresAt = server.permissions.now() + lifeMs;
    const token = server.permissions.mint({ ...server.withRights("short", {}), expiresAt });
    expect((await peer.call("echo", {}, { [grantKey]: token })).result?.isError).toBeUndefined();

    await (code === "token.expired" ? sleep(lifeMs + 10) : server.permissions.revoke("short", "test"));
    const after = await peer.call("move", { from: "a" }, { [grantKey]: token });
    expect(textOf(after)).toContain(`${code}: `);
    expect(after.result?.isError).toBe(true);
    expect(server.log).toEqual([]);
    expect((await peer.call("echo")).result?.isError).toBeUndefined();
  });

  test("is in no log line and no audit row", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    const token = server.permissions.mint(server.grant);
    await peer.initialize();
    await peer.call("echo", { text: "x" }, { [grantKey]: token });
    await peer.call("fails", {}, { [grantKey]: token });
    await peer.call("echo", { unknown: 1 }, { [grantKey]: token });
    peer.send({
      jsonrpc: "2.0",
      method: "notifications/progress",
      params: { progressToken: 1, progress: 1, _meta: { [grantKey]: token } },
    });
    peer.send({ jsonrpc: "2.0", id: 99, result: { _meta: { [grantKey]: token } } });
    peer.send({ jsonrpc: "2.0", method: "tools/call", params: { _meta: { [grantKey]: token } } });
    await peer.request("ping");
    const signature = token.slice(-40);
    expect(JSON.stringify([server.logged, await server.audit(), server.faults, peer.received])).not.toContain(
      signature,
    );
    expect((await server.audit()).length).toBeGreaterThanOrEqual(3);
  });
});

describe("taint over MCP", () => {
  test("of what came in makes a sink ask, under every grant of the connection and under that grant elsewhere", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    const other = server.permissions.mint(server.withRights("other", {}));
    await peer.initialize();
    expect((await peer.call("move", { from: "a" })).result?.isError).toBeUndefined();

    await peer.call("reads_web", {}, { [grantKey]: other });
    for (const meta of [{}, { [grantKey]: other }]) {
      expect(textOf(await peer.call("move", { from: "b" }, meta))).toMatch(/^permission\.approval_needed: .*web/);
    }
    const second = server.connect();
    await second.initialize();
    expect(textOf(await second.call("move", { from: "c" }, { [grantKey]: other }))).toMatch(
      /^permission\.approval_needed: /,
    );
    expect((await second.call("move", { from: "d" })).result?.isError).toBeUndefined();
    expect(server.log).toEqual(["moved a to here", "moved d to here"]);
  });
});

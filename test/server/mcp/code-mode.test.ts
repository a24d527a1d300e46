import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { openQuickjsEngine } from "../../../src/sandbox/quickjs.ts";
import { executeCodeTool } from "../../../src/tools/execute-code.ts";
import { testLimits } from "../../sandbox/hostile.ts";
import { openTestArtifacts } from "../../support/artifacts.ts";
import { type Message, type Peer, envelope, textOf } from "./peer.ts";
import { openTestServer } from "./serve.ts";
import { mcpTools } from "./tools.ts";

const engine = openQuickjsEngine();
const opened = await openTestArtifacts();
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await opened[Symbol.asyncDispose]();
});
const { artifacts, sessions } = opened;
const codeTool = executeCodeTool({
  engines: [engine],
  limits: testLimits,
  listed: () => mcpTools(),
  artifacts,
  sessions,
});
const openCodeServer = () => openTestServer({ more: [codeTool] });

const isForm = ({ method }: Message): boolean => method === "elicitation/create";
const run = (peer: Peer, code: string, over: object = {}, meta: object = {}): Promise<Message> =>
  peer.call("execute_code", { language: "javascript", code, ...over }, meta);
/** The result of the code, or how the execution failed. */
const resultOf = ({ result }: Message): unknown => {
  const value: unknown = result?.structuredContent;
  return Object(value).status === "ok" ? Object(value).result : value;
};
/** Code whose result is the value of a call, or the code of what it throws. */
const tried = (call: string): string =>
  `let came; try { came = await ${call} } catch (error) { came = error.code } came`;
const size = { action: "accept", content: { size: 4 } };

describe("a call from code that asks the person at the client", () => {
  test("is answered while the execution stands still, its clock too", async () => {
    await using server = await openCodeServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {} });
    const called = run(peer, tried('tools.asks({ text: "form" })'), { timeoutMs: 3_000 });
    const form = await peer.waitFor(isForm);
    expect(form.params).toMatchObject({ message: "Which size?" });
    await sleep(3_500);
    peer.send({ jsonrpc: "2.0", id: form.id, result: size });
    const answer = await called;
    expect(resultOf(answer)).toEqual({ told: { form: size }, kept: { secret: "of the tool" } });
    expect(Object(answer.result?.structuredContent).usage.wallMs).toBeLessThan(3_000);
    expect(server.log).toEqual(["asks about form", "goes on with form"]);
    const rows = (await server.audit()).map(({ entry }) => [entry.name, entry.decision]);
    expect(rows.filter(([name]) => name === "asks")).toEqual(expect.arrayContaining([["asks", "allow"]]));
    expect((await server.store.used([server.grant.id])).get(server.grant.id)).toEqual({ calls: 2 });
  });

  test("gets a typed error at once where nobody answers while a call is open, and so does what needs an approval", async () => {
    await using server = await openCodeServer();
    const rights = server.rightsTo(["execute_code", "asks"]);
    const grant = server.withRights("asks", { tools: [...rights, ...server.rightsTo(["move"], { ask: true })] });
    const code = `const told = [];
      for (const [name, args] of [["asks", { text: "form" }], ["move", { from: "a" }]]) {
        try { told.push(await tools[name](args)) } catch (error) { told.push(error.code) }
      } told`;
    const [modern, silent] = [server.connect(grant), server.connect(grant)];
    await silent.initialize();
    const all = { elicitation: { form: {}, url: {} } };
    for (const answer of [await run(modern, code, {}, envelope(all)), await run(silent, code)]) {
      expect(resultOf(answer)).toEqual(["tool.input_needed", "permission.approval_needed"]);
    }
    expect(server.log).toEqual(["asks about form", "asks about form"]);
  });

  test("may be a call that a person must approve: this very call, once", async () => {
    await using server = await openCodeServer();
    const tools = [...server.rightsTo(["execute_code"]), ...server.rightsTo(["move"], { ask: true })];
    const peer = server.connect(server.withRights("asks", { tools }));
    await peer.initialize({ elicitation: {} });
    const code = `const told = [];
      for (const from of ["a", "b"]) {
        try { told.push(await tools.move({ from })) } catch (error) { told.push(error.code) }
      } told`;
    const called = run(peer, code, { timeoutMs: 2_000 });
    const first = await peer.waitFor(isForm);
    expect(JSON.stringify(first.params)).toContain(String.raw`move {\n  \"from\": \"a\",\n  \"to\": \"here\"\n}`);
    expect(server.log).toEqual([]);
    const answer = (id: Message["id"], approve: boolean): void =>
      peer.send({ jsonrpc: "2.0", id, result: { action: "accept", content: { approve } } });
    answer(first.id, true);
    answer((await peer.waitFor((message) => isForm(message) && message.id !== first.id)).id, false);
    expect(resultOf(await called)).toEqual([{ from: "a", to: "here" }, "permission.approval_refused"]);
    expect(server.log).toEqual(["moved a to here"]);
  });

  test("asks nobody whose grant may not approve", async () => {
    await using server = await openCodeServer();
    const tools = [...server.rightsTo(["execute_code"]), ...server.rightsTo(["move"], { ask: true })];
    const peer = server.connect(server.withRights("asks", { tools, approve: [] }));
    await peer.initialize({ elicitation: {} });
    expect(resultOf(await run(peer, tried('tools.move({ from: "a" })')))).toBe("permission.approval_needed");
    expect(peer.received.some(isForm)).toBe(false);
  });

  test("asks one thing at a time, and code in code stands still too", async () => {
    await using server = await openCodeServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {} });
    const inner = `(await tools.asks({ text: "form" })).told.form.content.size`;
    const code = `const run = () => tools.execute_code({ language: "javascript", code: ${JSON.stringify(inner)}, timeoutMs: 5_000 });
      (await Promise.all([run(), run()])).map(({ result }) => result)`;
    const called = run(peer, code, { timeoutMs: 5_000 });
    const first = await peer.waitFor(isForm);
    await sleep(3_000);
    expect(peer.received.filter(isForm)).toHaveLength(1);
    peer.send({ jsonrpc: "2.0", id: first.id, result: size });
    const second = await peer.waitFor((message) => isForm(message) && message.id !== first.id);
    await sleep(3_000);
    peer.send({ jsonrpc: "2.0", id: second.id, result: { action: "accept", content: { size: 5 } } });
    expect(resultOf(await called)).toEqual(expect.arrayContaining([4, 5]));
  });

  test("is withdrawn when the execution is cancelled, and when the client refuses to ask", async () => {
    await using server = await openCodeServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {} });
    const refused = run(peer, tried('tools.asks({ text: "form" })'));
    const form = await peer.waitFor(isForm);
    peer.send({ jsonrpc: "2.0", id: form.id, error: { code: -32_000, message: "no forms today" } });
    expect(resultOf(await refused)).toBe("tool.input_needed");
    const args = { language: "javascript", code: tried('tools.asks({ text: "form" })') };
    peer.send({ jsonrpc: "2.0", id: 7, method: "tools/call", params: { name: "execute_code", arguments: args } });
    const second = await peer.waitFor((message) => isForm(message) && message.id !== form.id);
    peer.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 7 } });
    const withdrawn = await peer.waitFor(({ method }) => method === "notifications/cancelled");
    expect(withdrawn.params).toEqual({ requestId: second.id });
    expect(resultOf(await run(peer, "1 + 1"))).toBe(2);
  });
});

describe("progress and log lines of code", () => {
  const progressOf = ({ received }: Peer): readonly { progress: number; message: string }[] =>
    received.flatMap(({ method, params }) => (method === "notifications/progress" ? [Object(params)] : []));

  test("tell which tool is called and how many calls there were, and what that tool tells", async () => {
    await using server = await openCodeServer();
    const peer = server.connect();
    await peer.initialize();
    const code = 'await tools.echo({ text: "x" }); await tools.steps({ text: "" }); await tools.logs({ text: "" }); 1';
    await run(peer, "1"); // What is slow to start is told too.
    expect(resultOf(await run(peer, code, {}, { progressToken: "p" }))).toBe(1);
    const told = progressOf(peer);
    expect(told[0]).toMatchObject({ progressToken: "p", progress: 1, message: "echo (call 1)" });
    // How many of them are told, and whether a call's beginning is, is a matter of time.
    const known = /^(?:steps \(call 2\)(?:: step \d+)?|logs \(call 3\))$/;
    expect(told.slice(1).every(({ message }) => known.test(message))).toBe(true);
    expect(told.length).toBeGreaterThan(1);
    expect(told.length).toBeLessThan(30);
    expect(told.map(({ progress }) => progress)).toEqual(told.map((_, index) => index + 1));
    const lines = peer.received.filter(({ method }) => method === "notifications/message");
    expect(lines.map(({ params }) => params?.["data"])).toEqual(["fine", { hot: true }]);
  });

  test("show no name that the code made up", async () => {
    await using server = await openCodeServer();
    const peer = server.connect();
    await peer.initialize();
    const answer = await run(peer, tried('tools["done\\n\\u001b[2J"]({})'), {}, { progressToken: "p" });
    expect(resultOf(answer)).toBe("tool.unknown");
    expect(progressOf(peer).map(({ message }) => message)).toEqual(["a tool (call 1)"]);
    expect(textOf(answer)).not.toContain("\u001b");
  });
});

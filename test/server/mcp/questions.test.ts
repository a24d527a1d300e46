import { describe, expect, test } from "vitest";
import { type Peer, envelope, textOf } from "./peer.ts";
import { openTestServer } from "./serve.ts";

const all = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

/** tools/call of `asks` in the modern era. */
function ask(peer: Peer, kinds: string, more: object = {}, capabilities: object = all) {
  return peer.request("tools/call", {
    name: "asks",
    arguments: { text: kinds },
    _meta: envelope(capabilities),
    ...more,
  });
}

describe("a tool that waits, in the modern era", () => {
  test("asks with every kind of question, and goes on with the answers and its own state", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    const asked = await ask(peer, "form,url,sampling,roots");
    expect(asked.result).toMatchObject({
      resultType: "input_required",
      inputRequests: {
        form: { method: "elicitation/create", params: { mode: "form", message: "Which size?" } },
        url: { method: "elicitation/create", params: { mode: "url", url: "https://sign.in/here" } },
        model: { method: "sampling/createMessage", params: { maxTokens: 5 } },
        roots: { method: "roots/list" },
      },
    });
    expect(asked.result?.requestState).not.toContain("secret");
    const answers = { form: { action: "accept", content: { size: 4 } }, roots: { roots: [] } };
    const retry = { inputResponses: answers, requestState: asked.result?.requestState };
    const done = await ask(peer, "form,url,sampling,roots", retry);
    expect(done.result?.structuredContent).toEqual({ told: answers, kept: { secret: "of the tool" } });
    expect(server.log).toEqual(["asks about form,url,sampling,roots", "goes on with form,url,sampling,roots"]);
  });

  test("is charged once, and its answer counts once and for this call alone (B54)", async () => {
    await using server = await openTestServer();
    const grant = { ...server.grant, id: "two-calls", limits: { calls: 2 } };
    const peer = server.connect(grant);
    const asked = await ask(peer, "form");
    const retry = { inputResponses: { form: { action: "decline" } }, requestState: asked.result?.requestState };
    expect(textOf(await ask(peer, "url", retry))).toMatch(/^permission\.approval_refused: /);
    expect((await ask(peer, "form", retry)).result?.isError).toBeUndefined();
    expect(textOf(await ask(peer, "form", retry))).toMatch(/^permission\.approval_refused: .*answered before/);
    expect(server.log).toEqual(["asks about form", "goes on with form"]);
    expect((await peer.call("echo", { text: "x" }, envelope())).result?.isError).toBeUndefined();
    expect(textOf(await peer.call("echo", { text: "x" }, envelope()))).toMatch(/^budget\.calls: /);
  });

  test("answers which capability is missing where the client does not declare it", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    const answers = await Promise.all([
      ask(peer, "url", {}, { elicitation: { form: {} } }),
      ask(peer, "sampling,form,roots", {}, { roots: {} }),
      ask(peer, "form", {}, { elicitation: { url: {} } }),
    ]);
    const missing = [
      { elicitation: { url: {} } },
      { sampling: {}, elicitation: { form: {} } },
      { elicitation: { form: {} } },
    ];
    expect(answers.map(({ error }) => [error?.code, error?.["data"]])).toEqual(
      missing.map((requiredCapabilities) => [-32021, { requiredCapabilities }]),
    );
    expect((await ask(peer, "url", {}, { elicitation: { url: {} } })).result?.requestState).toBeDefined();
  });
});

describe("a tool that waits, in the older era", () => {
  test.each([
    ["form", "elicitation/create", { action: "accept", content: { size: 4 } }],
    ["sampling", "sampling/createMessage", { role: "assistant", content: { type: "text", text: "hi" }, model: "m" }],
    ["roots", "roots/list", { roots: [] }],
  ])("pushes a %s while the call stays open", async (kind, method, result) => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {}, sampling: {}, roots: {} });
    const called = peer.call("asks", { text: kind });
    const pushed = await peer.waitFor((message) => message.method === method);
    peer.send({ jsonrpc: "2.0", id: pushed.id, result });
    const answer = (await called).result?.structuredContent;
    expect(JSON.stringify(answer)).toContain(JSON.stringify(result).slice(1, 20));
    expect(server.log).toEqual([`asks about ${kind}`, `goes on with ${kind}`]);
  });
});

describe("questions that are pushed to an older client", () => {
  test("are withdrawn when one of them gets an error, which ends the call and nothing else", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {}, roots: {} });
    const called = peer.call("asks", { text: "form,roots" });
    const roots = await peer.waitFor(({ method }) => method === "roots/list");
    const form = await peer.waitFor(({ method }) => method === "elicitation/create");
    peer.send({ jsonrpc: "2.0", id: roots.id, error: { code: -32_000, message: "no roots today" } });
    expect(textOf(await called)).toMatch(/^tool\.input_needed: .*no roots today$/);
    const withdrawn = await peer.waitFor(({ method }) => method === "notifications/cancelled");
    expect(withdrawn.params).toEqual({ requestId: form.id });
    peer.send({ jsonrpc: "2.0", id: form.id, result: { action: "accept", content: { size: 4 } } });
    expect((await peer.call("echo", { text: "x" })).result?.structuredContent).toEqual({ text: "x" });
    expect(server.log).toEqual(["asks about form,roots"]);
  });

  test("are withdrawn with the call that asks, and their answers count no more", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {} });
    peer.send({ jsonrpc: "2.0", id: 7, method: "tools/call", params: { name: "asks", arguments: { text: "form" } } });
    const form = await peer.waitFor(({ method }) => method === "elicitation/create");
    peer.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 7 } });
    await peer.waitFor(({ method }) => method === "notifications/cancelled");
    peer.send({ jsonrpc: "2.0", id: form.id, result: { action: "accept", content: { size: 4 } } });
    expect((await peer.call("echo", { text: "x" })).result?.structuredContent).toEqual({ text: "x" });
    expect(peer.received.some(({ id }) => id === 7)).toBe(false);
    expect(server.log).toEqual(["asks about form"]);
  });
});

describe("a tool that waits for a client that can't answer, in the older era", () => {
  test("ends with a result that the model reads", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize({ sampling: {} });
    expect(textOf(await peer.call("asks", { text: "form" }))).toMatch(/^tool\.input_needed: /);
  });
});

describe("log lines of a tool", () => {
  test("reach an older client from the level on that it set", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize();
    await peer.request("logging/setLevel", { level: "warning" });
    const line = peer.waitFor(({ method }) => method === "notifications/message");
    await peer.call("logs");
    expect((await line).params).toEqual({ level: "warning", logger: "stove", data: { hot: true } });
  });

  test("reach a newer client only where its request names a level", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.call("logs", {}, envelope());
    const line = peer.waitFor(({ method }) => method === "notifications/message");
    await peer.call("logs", {}, { ...envelope(), "io.modelcontextprotocol/logLevel": "error" });
    await peer.call("logs", {}, { ...envelope(), "io.modelcontextprotocol/logLevel": "warning" });
    expect((await line).params).toMatchObject({ level: "warning", data: { hot: true } });
  });
});

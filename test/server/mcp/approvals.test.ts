import { describe, expect, test } from "vitest";
import { type Message, type Peer, envelope, textOf } from "./peer.ts";
import { openTestServer } from "./serve.ts";

const forms = { elicitation: { form: {} } };
const yes = { approval: { action: "accept", content: { approve: true } } };
const stateRefused = { code: -32_602, data: { code: "permission.state_refused" } };

/** A server whose grant asks before each move, and a peer of the modern era that has asked for one. */
async function openQuestion(args: object = { from: "a" }) {
  const server = await openTestServer();
  const grant = server.withRights("asks", { tools: server.rightsTo(["move"], { ask: true }) });
  const peer = server.connect(grant);
  const asked = await call(peer, { args });
  const state = asked.result?.requestState;
  return { server, grant, peer, asked, state, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

interface Call {
  readonly args?: object;
  readonly answer?: object;
  readonly state?: unknown;
  readonly capabilities?: object;
}

/** tools/call of `move` in the modern era; with `answer`, the retry that carries it. */
function call(peer: Peer, { args = { from: "a" }, answer, state, capabilities = forms }: Call): Promise<Message> {
  return peer.request("tools/call", {
    name: "move",
    arguments: args,
    _meta: envelope(capabilities),
    ...(answer === undefined ? {} : { inputResponses: answer }),
    ...(state === undefined ? {} : { requestState: state }),
  });
}

describe("an approval in the modern era", () => {
  test("shows the exact call, defaults filled in, and lets it run once after a yes", async () => {
    await using question = await openQuestion();
    const { server, peer, asked, state } = question;
    expect(asked.result).toMatchObject({
      resultType: "input_required",
      inputRequests: { approval: { method: "elicitation/create", params: { mode: "form" } } },
    });
    const text = JSON.stringify(asked.result);
    expect(text).toContain(String.raw`move {\n  \"from\": \"a\",\n  \"to\": \"here\"\n}`);
    expect(server.log).toEqual([]);

    const done = await call(peer, { answer: yes, state });
    expect(done.result?.structuredContent).toEqual({ from: "a", to: "here" });
    expect(server.log).toEqual(["moved a to here"]);
  });

  test.each([
    ["a no", { approval: { action: "accept", content: { approve: false } } }],
    ["a form that was declined", { approval: { action: "decline" } }],
    ["a form that was closed", { approval: { action: "cancel" } }],
    ["no answer", {}],
    ["an answer to another question", { other: yes.approval }],
    ["a yes that is text", { approval: { action: "accept", content: { approve: "true" } } }],
  ])("is refused by %s, and the same state is no good afterwards", async (_what, answer) => {
    await using question = await openQuestion();
    const { server, peer, state } = question;
    for (const response of [answer, yes]) {
      const refused = await call(peer, { answer: response, state });
      expect(refused.result?.isError).toBe(true);
      expect(textOf(refused)).toMatch(/^permission\.approval_refused: /);
    }
    expect(server.log).toEqual([]);
    const rows = await server.audit();
    expect(rows.map(({ entry }) => entry.reason)).toEqual([
      "permission.approval_needed",
      "permission.approval_refused",
      "permission.approval_refused",
    ]);
  });

  test("replayed with its answer is refused: it was used (B54)", async () => {
    await using question = await openQuestion();
    const { server, peer, state } = question;
    await call(peer, { answer: yes, state });
    for (let replay = 0; replay < 3; replay += 1) {
      expect(textOf(await call(peer, { answer: yes, state }))).toMatch(
        /^permission\.approval_refused: .*answered before/,
      );
    }
    expect(server.log).toEqual(["moved a to here"]);
  });

  test("of one call releases no other (B39)", async () => {
    await using question = await openQuestion();
    const { server, peer, state } = question;
    const refused = await call(peer, { args: { from: "b" }, answer: yes, state });
    expect(textOf(refused)).toMatch(/^permission\.approval_refused: .*not the call/);
    expect(server.log).toEqual([]);
  });

  test("is no good under another grant, and used once over all connections", async () => {
    await using question = await openQuestion();
    const { server, grant, state } = question;
    const other = server.connect({ ...grant, id: "other" });
    expect((await call(other, { answer: yes, state })).error).toMatchObject(stateRefused);
    expect(server.log).toEqual([]);
    const [first, second] = [server.connect(grant), server.connect(grant)];
    const answers = await Promise.all([first, second].map((peer) => call(peer, { answer: yes, state })));
    expect(answers.filter(({ result }) => result?.isError === true)).toHaveLength(1);
    expect(server.log).toEqual(["moved a to here"]);
  });

  test.each([
    ["forged", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
    ["empty", ""],
    ["changed in one byte", undefined],
  ])("with a state that is %s is refused", async (_what, forged) => {
    await using question = await openQuestion();
    const { server, peer, state } = question;
    const changed = forged ?? `${state?.slice(0, 20)}${state?.[20] === "A" ? "B" : "A"}${state?.slice(21)}`;
    expect((await call(peer, { answer: yes, state: changed })).error).toMatchObject(stateRefused);
    expect(server.log).toEqual([]);
  });

  test("can't be given by a holder without the right to approve", async () => {
    await using server = await openTestServer();
    const tools = server.rightsTo(["move"], { ask: true });
    const peer = server.connect(server.withRights("asks", { tools, approve: ["echo"] }));
    expect(textOf(await call(peer, {}))).toMatch(/^permission\.approval_needed: /);
    expect(server.log).toEqual([]);
  });

  test.each([
    ["shows no forms", {}],
    ["only opens URLs", { elicitation: { url: {} } }],
  ])("is not asked of a client that %s", async (_what, capabilities) => {
    await using server = await openTestServer();
    const peer = server.connect(server.withRights("asks", { tools: server.rightsTo(["move"], { ask: true }) }));
    const answer = await call(peer, { capabilities });
    expect(answer.result?.isError).toBe(true);
    expect(textOf(answer)).toMatch(/^permission\.approval_needed: /);
  });

  test("adds no right: what the grant does not list stays unknown, what it refuses stays refused", async () => {
    await using server = await openTestServer();
    const peer = server.connect(server.withRights("none", { tools: server.rightsTo(["echo"]) }));
    expect((await call(peer, {})).error?.code).toBe(-32602);
    const lawful = await peer.call("echo", { text: "x" }, envelope(forms));
    expect(lawful.result?.structuredContent).toEqual({ text: "x" });
  });

  test("writes out what can't be seen, and does not ask about what can't be shown whole", async () => {
    const hidden = "a\u202eb\u200bc\u2028d\u3000e";
    await using question = await openQuestion({ from: hidden });
    const { peer, asked } = question;
    expect(JSON.stringify(asked.result)).toContain(String.raw`a\\u{202e}b\\u{200b}c\\u{2028}d\\u{3000}e`);
    const long = await call(peer, { args: { from: "x".repeat(8_000) } });
    expect(textOf(long)).toMatch(/^permission\.approval_needed: /);
  });
});

describe("an approval in the older era", () => {
  test.each([
    ["accept", { approve: true }, ["moved a to here"], /"from":"a"/],
    ["decline", undefined, [], /^permission\.approval_refused: /],
  ])("is pushed to the client while the call waits: %s", async (action, content, moved, text) => {
    await using server = await openTestServer();
    const peer = server.connect(server.withRights("asks", { tools: server.rightsTo(["move"], { ask: true }) }));
    await peer.initialize({ elicitation: {} });
    const called = peer.call("move", { from: "a" });
    const pushed = await peer.waitFor(({ method }) => method === "elicitation/create");
    expect(JSON.stringify(pushed.params)).toContain(String.raw`\"to\": \"here\"`);
    expect(server.log).toEqual([]);
    peer.send({ jsonrpc: "2.0", id: pushed.id, result: { action, ...(content === undefined ? {} : { content }) } });
    expect(textOf(await called)).toMatch(text);
    expect(server.log).toEqual(moved);
  });

  test("releases what taint holds back", async () => {
    await using server = await openTestServer();
    const peer = server.connect();
    await peer.initialize({ elicitation: {} });
    await peer.call("reads_web");
    const called = peer.call("move", { from: "a" });
    const pushed = await peer.waitFor(({ method }) => method === "elicitation/create");
    peer.send({ jsonrpc: "2.0", id: pushed.id, result: { action: "accept", content: { approve: true } } });
    expect((await called).result?.isError).toBeUndefined();
    expect(server.log).toEqual(["moved a to here"]);
  });
});

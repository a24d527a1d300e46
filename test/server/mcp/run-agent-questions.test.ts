import { describe, expect, test } from "vitest";
import { testTool } from "../../support/door.ts";
import { openAgentServer } from "./agent-server.ts";
import { envelope } from "./peer.ts";

const forms = { elicitation: { form: {} } };

/** A server whose models send twice, and a grant under which each sending asks. */
async function openSending(approve: readonly string[]) {
  const sent: string[] = [];
  const send = testTool("send", {
    effect: "once",
    run: async ({ text }) => {
      sent.push(text);
      return { type: "done", value: { text } };
    },
  });
  const calls = ["one", "two"].map((text) => ({ calls: [["send", { text }] as const] }));
  const at = await openAgentServer([send], { first: [...calls, { text: "Both are sent." }] });
  const tools = at.grant.rights.tools.map((right) => ({ ...right, ask: right.name === "send" }));
  const grant = { ...at.grant, id: "asks", rights: { ...at.grant.rights, tools, approve: [...approve] } };
  return { ...at, sent, asking: grant, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

/** A result that asks, as far as these tests read it. */
function questionIn(result: object = {}): { readonly key: string; readonly text: string } {
  const requests = "inputRequests" in result && typeof result.inputRequests === "object" ? result.inputRequests : {};
  const [[key, request] = ["", null]] = Object.entries(requests ?? {});
  return { key, text: JSON.stringify(request) };
}

const answer = (approve: boolean) => ({ action: "accept", content: { approve } });

describe("run_agent, called by a client that can be asked and takes no tasks", () => {
  test("asks it about each call of the run, and ends with what it said", async () => {
    await using at = await openSending(["send"]);
    const peer = at.connect(at.asking);
    const request = { name: "run_agent", arguments: { task: "Send both." }, _meta: envelope(forms) };
    const first = (await peer.request("tools/call", request)).result;
    const one = questionIn(first);
    expect(one.text).toContain("one");
    expect(at.sent).toEqual([]);
    const yes = { inputResponses: { [one.key]: answer(true) }, requestState: first?.requestState };
    const second = (await peer.request("tools/call", { ...request, ...yes })).result;
    const two = questionIn(second);
    expect([two.text.includes("two"), at.sent]).toEqual([true, ["one"]]);
    // An answer counts once, and for its own question.
    expect((await peer.request("tools/call", { ...request, ...yes })).result?.isError).toBe(true);
    const no = { inputResponses: { [two.key]: answer(false) }, requestState: second?.requestState };
    const third = (await peer.request("tools/call", { ...request, ...no })).result;
    expect(third?.structuredContent).toMatchObject({ answer: "Both are sent.", toolCalls: 2 });
    expect(at.sent).toEqual(["one"]);
    expect(await at.host.list(9)).toHaveLength(1);
  });

  test("asks an older client while the call stays open", async () => {
    await using at = await openSending(["send"]);
    const peer = at.connect(at.asking);
    await peer.initialize({ elicitation: {} });
    const called = peer.call("run_agent", { task: "Send both." });
    for (const text of ["one", "two"]) {
      const asked = await peer.waitFor(
        ({ method, params }) => method === "elicitation/create" && JSON.stringify(params).includes(`"${text}`),
      );
      peer.send({ jsonrpc: "2.0", id: asked.id, result: answer(true) });
    }
    expect((await called).result?.structuredContent).toMatchObject({ status: "done", answer: "Both are sent." });
    expect(at.sent).toEqual(["one", "two"]);
  });

  test.each([
    ["may not approve the call", [], forms],
    ["can't be asked", ["send"], {}],
  ])("tells one that %s which command does it", async (_, approve, capabilities) => {
    await using at = await openSending(approve);
    const peer = at.connect(at.asking);
    const request = { name: "run_agent", arguments: { task: "Send both." }, _meta: envelope(capabilities) };
    const { result } = await peer.request("tools/call", request);
    expect(result?.structuredContent).toMatchObject({
      status: "suspended",
      pending: [{ approve: expect.stringContaining("capstan runs approve run_") }],
    });
    expect(at.sent).toEqual([]);
  });
});

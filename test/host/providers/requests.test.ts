import { describe, expect, test } from "vitest";
import type { AnswerPart, Block } from "../../../src/core/event.ts";
import type { ContextMessage } from "../../../src/core/run.ts";
import type { ModelRequest } from "../../../src/host/provider.ts";
import { spokenWires } from "./all.ts";
import type { HeardTurn, SpokenWire } from "./story.ts";
import { ask, openTeller, request, tell } from "./tell.ts";

const said = { said: [{ type: "text" as const, pieces: ["ok"] }] };
const text = (words: string): Block => ({ type: "text", text: words });
const image = (data: string): Block => ({ type: "image", mimeType: "image/png", data });
const user = (...content: readonly Block[]): ContextMessage => ({ role: "user", content });
const result = (callId: string, ...content: Block[]): ContextMessage => ({
  role: "tool",
  callId,
  name: "echo",
  outcome: { isError: false, content },
});
const called = (...ids: readonly string[]): readonly AnswerPart[] =>
  ids.map((callId) => ({ type: "tool_call", callId, name: "echo", argumentsText: '{"text":"1"}' }));

/** What the wire said of a request, read by the row of its dialect. */
async function hear(wire: SpokenWire, over: Partial<ModelRequest>) {
  const { sent } = await tell(wire, said, { ...request, ...over });
  const body: unknown = JSON.parse(sent.body);
  return wire.hear(body);
}

const idsOf = (turns: readonly HeardTurn[]) => ({
  calls: turns.flatMap((turn) => (turn.role === "assistant" ? turn.calls.map(({ id }) => id) : [])),
  results: turns.flatMap((turn) => (turn.role === "tool" ? [turn.id] : [])),
});

describe.each(spokenWires)("a request over $dialect.type", (wire) => {
  const { can } = wire;

  test("goes to the wire's path, with the configured key alone, whatever the environment holds", async () => {
    const variables = {
      OPENAI_API_KEY: "from-env",
      OPENAI_ORG_ID: "from-env",
      OPENAI_CUSTOM_HEADERS: "x-from-env: 1",
      ANTHROPIC_API_KEY: "from-env",
      ANTHROPIC_AUTH_TOKEN: "from-env",
      ANTHROPIC_CUSTOM_HEADERS: "x-from-env: 1",
      OLLAMA_API_KEY: "from-env",
    };
    await using server = await openTeller(wire, wire.encode(said));
    const before = { ...process.env };
    Object.assign(process.env, variables);
    try {
      await ask(wire, server.baseUrl);
      await ask(wire, server.baseUrl, request, { apiKey: "configured" });
    } finally {
      for (const name of Object.keys(variables)) delete process.env[name];
      Object.assign(process.env, before);
    }
    const [name, value] = wire.keyHeader("configured");
    expect(server.requests.map(({ headers }) => headers[name])).toEqual([undefined, value]);
    expect(JSON.stringify(server.requests)).not.toMatch(/from-env/);
    for (const { url } of server.requests) expect(url.endsWith(wire.path)).toBe(true);
  });

  test("says model, instructions, tools and messages", async () => {
    expect(await hear(wire, {})).toEqual({
      model: "test-model",
      system: "Be brief.",
      turns: [{ role: "user", text: "hello", images: [] }],
      tools: ["echo"],
      settings: {},
      answerSchema: undefined,
    });
    expect(await hear(wire, { tools: [] })).toMatchObject({ tools: [] });
  });

  test("says the settings that the wire has, and names the others", async () => {
    const { model } = request;
    expect((await hear(wire, { settings: wire.sayable })).settings).toEqual(wire.sayable);
    expect(wire.dialect.validate({ model, settings: wire.sayable })).toEqual([]);
    for (const settings of wire.unsayable) {
      const [name = ""] = Object.keys(settings);
      expect(wire.dialect.validate({ model, settings })).toEqual([expect.stringContaining(name)]);
      // What can't be said is left out, not sent in another form, and the answer says so.
      const { sent, events } = await tell(wire, said, { ...request, settings });
      expect(wire.hear(JSON.parse(sent.body)).settings).toEqual({});
      const notice = { type: "degraded", model: "test:test-model", message: expect.stringContaining(name) };
      expect(events.filter(({ type }) => type === "notice")).toEqual([{ type: "notice", notice }]);
    }
  });

  test("holds the answer to a schema", async () => {
    const answerSchema = {
      type: "object",
      properties: { n: { type: "integer" } },
      required: ["n"],
      additionalProperties: false,
    };
    expect(await hear(wire, { answerSchema, tools: [] })).toMatchObject({ answerSchema });
  });

  test("joins neighbouring messages of the user", async () => {
    const { turns } = await hear(wire, { messages: [user(text("task")), user(text("stdin"))] });
    expect(turns).toEqual([{ role: "user", text: "task\n\nstdin", images: [] }]);
  });

  test("answers each call, in order, before what the user says next", async () => {
    const messages: readonly ContextMessage[] = [
      user(text("task")),
      {
        role: "assistant",
        parts: [{ type: "reasoning", text: "hm" }, { type: "text", text: "So:" }, ...called("x", "y")],
      },
      result("x", text("one")),
      {
        role: "tool",
        callId: "y",
        name: "echo",
        outcome: { isError: true, code: "tool.failed", content: [text("no")] },
      },
      user(text("and?")),
      { role: "assistant", parts: [{ type: "text", text: "done" }] },
      user(text("more")),
    ];
    const { turns } = await hear(wire, { messages });
    const [x, y] = ["x", "y"].map(wire.idOf);
    const args = { text: "1" };
    expect(turns).toEqual([
      { role: "user", text: "task", images: [] },
      {
        role: "assistant",
        text: "So:",
        calls: [
          { id: x, name: "echo", args },
          { id: y, name: "echo", args },
        ],
      },
      { role: "tool", id: x, text: "one", images: [] },
      { role: "tool", id: y, text: "no", images: [] },
      { role: "user", text: "and?", images: [] },
      { role: "assistant", text: "done", calls: [] },
      { role: "user", text: "more", images: [] },
    ]);
  });

  test("shows images of the user and of tools, and only names what it can't show", async () => {
    const sound: Block = { type: "audio", mimeType: "audio/wav", data: "AAAA" };
    const messages: readonly ContextMessage[] = [
      user(text("see"), image("iVBORw0KGgo="), sound),
      { role: "assistant", parts: called("x", "y") },
      result("x", text("shown:"), image("iVBORw0KGgp=")),
      result("y", text("two")),
      user(text("and?")),
    ];
    const { turns } = await hear(wire, { messages });
    expect(turns[0]).toEqual({ role: "user", text: "see\n\n(sound, audio/wav)", images: ["iVBORw0KGgo="] });
    expect(turns.filter(({ role }) => role === "tool").map((turn) => turn.text.split("\n")[0])).toEqual([
      "shown:",
      "two",
    ]);
    const shows = turns.flatMap((turn, place) =>
      "images" in turn && place > 0 && turn.images.length > 0 ? [turn] : [],
    );
    expect(shows).toMatchObject([{ role: can.resultImages ? "tool" : "user", images: ["iVBORw0KGgp="] }]);
    // No message of the user stands between the results.
    expect(turns.map(({ role }) => role)).toEqual(["user", "assistant", "tool", "tool", "user"]);
    expect(turns.at(-1)?.text).toMatch(/and\?$/);
  });

  test("shows a picture of 20 MB whole", async () => {
    const data = "iVBORw0K".repeat(20_000_000 / 8);
    const { turns } = await hear(wire, { messages: [user(text("see"), image(data))] });
    const [shown] = turns[0]?.role === "user" ? turns[0].images : [];
    expect(shown === data).toBe(true);
  });

  test("gives an answer back byte for byte to whom it came from, with the results under its ids", async () => {
    const story = {
      said: [
        { type: "reasoning" as const, pieces: ["I ", "should."] },
        { type: "text" as const, pieces: ["So:"] },
        { type: "call" as const, id: "their_1", name: "echo", pieces: ['{"text": "1"}'] },
        { type: "call" as const, id: "their_2", name: "echo", pieces: ['{ "text":"1"}'] },
      ],
    };
    await using server = await openTeller(wire, wire.encode(story));
    await using other = await openTeller(wire, wire.encode(story));
    const [first] = (await ask(wire, server.baseUrl)).slice(-1);
    if (first?.type !== "message.ended") throw new Error("no end");
    const { raw } = first;
    expect(raw !== undefined).toBe(can.reasoning);
    // As the run knows it: with ids of its own.
    let calls = 0;
    const parts = first.parts.map((part) =>
      part.type === "tool_call" ? { ...part, callId: `ours_${calls++}` } : part,
    );
    const answer: ContextMessage = { role: "assistant", parts, ...(raw === undefined ? {} : { raw }) };
    const messages = [user(text("hello")), answer, result("ours_0", text("one")), result("ours_1", text("two"))];
    const sentTo = async (to: typeof server, model: string) => {
      await ask(wire, to.baseUrl, { ...request, model, messages });
      const body = to.requests.at(-1)?.body ?? "";
      return { body, heard: wire.hear(JSON.parse(body)) };
    };
    const verbatim = raw === undefined ? "" : JSON.stringify(raw.blocks).slice(1, -1);
    const same = await sentTo(server, "test-model");
    expect(same.body).toContain(verbatim);
    const ours = ["ours_0", "ours_1"].map(wire.idOf);
    const theirs = can.ids && can.reasoning ? ["their_1", "their_2"] : ours;
    expect(idsOf(same.heard.turns)).toEqual({ calls: theirs, results: theirs });
    // Another model and another endpoint get what was said in plain words, without the reasoning.
    for (const { body, heard } of [await sentTo(server, "other-model"), await sentTo(other, "test-model")]) {
      expect(body).not.toContain("I should.");
      expect(idsOf(heard.turns)).toEqual({ calls: ours, results: ours });
      expect(heard.turns).toMatchObject([
        { role: "user" },
        { role: "assistant", text: "So:" },
        { text: "one" },
        { text: "two" },
      ]);
    }
  });
});

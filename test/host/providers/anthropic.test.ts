import { describe, expect, test, vi } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import { anthropic } from "../../../src/host/providers/anthropic.ts";
import { speak } from "../../../src/host/providers/wire.ts";
import { testTool } from "../../support/door.ts";
import { openTestHost } from "../scripted.ts";
import { openSseServer } from "../sse-server.ts";
import { messages as wire, toMessageEvents, toStart } from "./anthropic-story.ts";
import { ask, askOverPieces, endOf, openTeller } from "./tell.ts";

const delta = (index: number, change: object) => ({ type: "content_block_delta", index, delta: change });
const stop = (index: number) => ({ type: "content_block_stop", index });
const started = { type: "message_start", message: { usage: { input_tokens: 9, output_tokens: 1 } } };
const ended = (stop_reason: string) => ({
  type: "message_delta",
  delta: { stop_reason },
  usage: { output_tokens: 5 },
});
const said = (reason: string, ...blocks: readonly (readonly { type: string }[])[]): string =>
  toMessageEvents([started, ...blocks.flat(), ended(reason), { type: "message_stop" }]);

const thought = [
  toStart(0, { type: "thinking", thinking: "", signature: "" }),
  delta(0, { type: "thinking_delta", thinking: "Echo " }),
  delta(0, { type: "thinking_delta", thinking: "knöws 🙂." }),
  delta(0, { type: "signature_delta", signature: "RXFv+/dhcw==" }),
  stop(0),
];
const redacted = [toStart(1, { type: "redacted_thinking", data: "RW5jcnlwdGVk" }), stop(1)];
const called = (index: number, ...pieces: readonly string[]) => [
  toStart(index, { type: "tool_use", id: `toolu_${index}`, name: "echo", input: {} }),
  ...pieces.map((partial_json) => delta(index, { type: "input_json_delta", partial_json })),
  stop(index),
];
const text = (index: number, ...pieces: readonly string[]) => [
  toStart(index, { type: "text", text: "" }),
  ...pieces.map((piece) => delta(index, { type: "text_delta", text: piece })),
  stop(index),
];

/** The same bytes in other pieces: each one alone, and in two at every third place. The suite of all wires splits at every place. */
function* splits(bytes: Buffer<ArrayBuffer>): Generator<readonly Buffer<ArrayBuffer>[]> {
  yield Array.from(bytes, (byte) => Buffer.from([byte]));
  for (let at = 1; at < bytes.length; at += 3) yield [bytes.subarray(0, at), bytes.subarray(at)];
}

describe("thinking", () => {
  const bytes = Buffer.from(said("tool_use", thought, redacted, text(2, ""), called(3, '{"text"', ':"hi"}')));

  test("is kept verbatim, signed or redacted, wherever the stream is split", async () => {
    const whole = await askOverPieces(wire, [bytes]);
    const { parts, raw } = endOf(whole);
    expect(parts).toEqual([
      { type: "reasoning", text: "Echo knöws 🙂." },
      { type: "tool_call", callId: "toolu_3", name: "echo", argumentsText: '{"text":"hi"}' },
    ]);
    // Without the empty text, which the API sends and refuses.
    expect(raw?.blocks).toEqual([
      { type: "thinking", thinking: "Echo knöws 🙂.", signature: "RXFv+/dhcw==" },
      { type: "redacted_thinking", data: "RW5jcnlwdGVk" },
      { type: "tool_use", id: "toolu_3", name: "echo", input: { text: "hi" } },
    ]);
    for (const pieces of splits(bytes)) expect(await askOverPieces(wire, pieces)).toEqual(whole);
  });

  test("that was cut before its signature does not go back, and neither does what was cut of a call", async () => {
    const begun = thought.slice(0, 2);
    expect(endOf(await askOverPieces(wire, [Buffer.from(said("max_tokens", begun))]))).toEqual(
      expect.not.objectContaining({ raw: expect.anything() }),
    );
    const cut = endOf(await askOverPieces(wire, [Buffer.from(said("max_tokens", thought, called(1, '{"te')))]));
    expect(cut).toMatchObject({ stop: "length", parts: [{ type: "reasoning" }] });
    // The API refuses thinking with nothing behind it.
    expect(cut).not.toHaveProperty("raw");
    const more = endOf(await askOverPieces(wire, [Buffer.from(said("max_tokens", thought, text(1, "So"), called(2)))]));
    expect(more.raw?.blocks).toEqual([
      expect.objectContaining({ type: "thinking", signature: "RXFv+/dhcw==" }),
      { type: "text", text: "So" },
    ]);
  });
});

describe("a run with the Messages API", () => {
  /** A server that answers each request with the next of these. */
  const answering = (...answers: readonly string[]) => {
    let next = 0;
    return openSseServer((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).end(answers[next++]);
    });
  };
  const drive = async (...answers: readonly string[]) => {
    await using server = await answering(...answers);
    const provider = speak(anthropic, { name: "anthropic", baseUrl: server.baseUrl, silenceMs: 60_000 });
    await using at = await openTestHost({ tools: [testTool("echo")], provider });
    const outcome = await at.start("Say hi.", { model: "anthropic:claude-opus-5-5" });
    const bodies = server.requests.map((sent): unknown => JSON.parse(sent.body));
    return { outcome, bodies };
  };

  test("sends thinking back with the results, under the ids that the model gave its calls", async () => {
    const calls = [called(2, '{"text":"1"}'), called(3, '{"text":"2"}')];
    const { outcome, bodies } = await drive(
      said("tool_use", thought, redacted, ...calls),
      said("end_turn", text(0, "Hi.")),
    );
    expect(outcome).toMatchObject({ status: "done", answer: "Hi.", toolCalls: 2 });
    expect(bodies[1]).toMatchObject({
      messages: [
        { role: "user" },
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "Echo knöws 🙂.", signature: "RXFv+/dhcw==" },
            { type: "redacted_thinking", data: "RW5jcnlwdGVk" },
            { type: "tool_use", id: "toolu_2", input: { text: "1" } },
            { type: "tool_use", id: "toolu_3", input: { text: "2" } },
          ],
        },
        {
          role: "user",
          content: [
            { type: "tool_result", tool_use_id: "toolu_2" },
            { type: "tool_result", tool_use_id: "toolu_3" },
          ],
        },
      ],
    });
  });

  test("gives a paused answer back as it is, and goes on", async () => {
    const search = [
      toStart(1, { type: "server_tool_use", id: "srv_1", name: "web_search", input: {} }),
      delta(1, { type: "input_json_delta", partial_json: '{"query":"hi"}' }),
      stop(1),
    ];
    const { outcome, bodies } = await drive(
      said("pause_turn", text(0, "Looking "), search),
      said("end_turn", text(0, "Found it.")),
    );
    expect(outcome).toMatchObject({ status: "done", answer: "Found it.", turns: 2 });
    expect(bodies[1]).toMatchObject({
      messages: [
        { role: "user" },
        {
          role: "assistant",
          content: [
            { type: "text", text: "Looking " },
            { type: "server_tool_use", id: "srv_1", name: "web_search", input: { query: "hi" } },
          ],
        },
      ],
    });
  });

  test("ends with a refusal, and performs none of its calls", async () => {
    const { outcome, bodies } = await drive(said("refusal", text(0, "I "), called(1, "{}")));
    expect(outcome).toMatchObject({ status: "failed", code: "provider.declined", toolCalls: 0 });
    expect(bodies).toHaveLength(1);
  });
});

test("what is paused, refused or fails is the same wherever it is split", async () => {
  const failed = toMessageEvents([
    started,
    ...text(0, "é "),
    { type: "error", error: { type: "overloaded_error", message: "Överloaded" } },
  ]);
  const told = (pieces: readonly Buffer<ArrayBuffer>[]): Promise<unknown> =>
    askOverPieces(wire, pieces).catch((error: unknown) => (error instanceof CapstanError ? error.message : error));
  const [paused, refused] = [said("pause_turn", text(0, "Löoking ")), said("refusal", text(0, "I cän't."))];
  for (const [answer, expected] of [
    [paused, [expect.objectContaining({ stop: "paused", raw: expect.anything() })]],
    [refused, [expect.objectContaining({ stop: "refusal" })]],
    [failed, expect.stringMatching(/broke off: Överloaded\.$/)],
  ] as const) {
    const bytes = Buffer.from(answer);
    const whole = await told([bytes]);
    expect(Array.isArray(whole) ? whole.slice(-1) : whole).toEqual(expected);
    for (const pieces of splits(bytes)) expect(await told(pieces)).toEqual(whole);
  }
});

test("a block that has ended is looked into once, and nothing is added to it", async () => {
  const long = called(0, `{"text":"${"x".repeat(2_000_000)}"}`);
  const parsed = vi.spyOn(JSON, "parse");
  try {
    const ends = Array.from({ length: 200 }, () => stop(0));
    const { parts } = endOf(await askOverPieces(wire, [Buffer.from(said("tool_use", long, ends))]));
    expect(parts).toHaveLength(1);
    expect(parsed.mock.calls.filter(([json]) => json.length > 1_000_000 && json.startsWith('{"text"'))).toHaveLength(1);
  } finally {
    parsed.mockRestore();
  }
  const added = said("tool_use", called(0, "{}"), [delta(0, { type: "input_json_delta", partial_json: " " })]);
  await expect(askOverPieces(wire, [Buffer.from(added)])).rejects.toMatchObject({ code: "provider.bad_answer" });
});

test("what the provider's own tools are asked is not shown as words of the model", async () => {
  const search = [
    toStart(1, { type: "server_tool_use", id: "srv_1", name: "web_search", input: {} }),
    delta(1, { type: "input_json_delta", partial_json: '{"query":"hi"}' }),
    stop(1),
  ];
  // Some gateways send all of a text with its start.
  const begun = [toStart(2, { type: "text", text: "It " }), delta(2, { type: "text_delta", text: "is." }), stop(2)];
  const events = await askOverPieces(wire, [Buffer.from(said("end_turn", text(0, "So: "), search, begun))]);
  expect(events.flatMap((event) => (event.type === "text.delta" ? [event.text] : []))).toEqual(["So: ", "It ", "is."]);
  expect(endOf(events).parts.map((part) => part.type === "text" && part.text)).toEqual(["So: ", "It is."]);
});

test("events and fields that are not known yet pass by", async () => {
  const events = toMessageEvents([
    { ...started, more: 1 },
    { type: "something_new", index: "x" },
    ...text(0, "ok"),
    delta(0, { type: "something_new", value: 1 }),
    ended("end_turn"),
  ]);
  await using server = await openTeller(wire, events);
  expect(endOf(await ask(wire, server.baseUrl))).toMatchObject({
    parts: [{ type: "text", text: "ok" }],
    usage: { inputUncached: 9, output: 5 },
  });
});

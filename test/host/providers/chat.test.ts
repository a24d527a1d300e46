import { describe, expect, test, vi } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import type { ContextMessage } from "../../../src/core/run.ts";
import { openChatAnswer } from "../../../src/host/providers/chat-answer.ts";
import { toChatBody, toChatCallId } from "../../../src/host/providers/chat-body.ts";
import { delta, openSseServer, sseHead, toSse } from "../sse-server.ts";
import { chat } from "./chat-story.ts";
import { ask, endOf, request } from "./tell.ts";

const end = async (baseUrl: string) => endOf(await ask(chat, baseUrl));

describe("servers that differ", () => {
  const sending = (...chunks: readonly unknown[]) =>
    openSseServer((response) => response.writeHead(200, sseHead).end(toSse(chunks)));
  const call = (id: string, text: string, index?: number): unknown =>
    delta({
      tool_calls: [{ ...(index === undefined ? {} : { index }), id, function: { name: "echo", arguments: text } }],
    });

  test.each([
    ["number every call 0", 0],
    ["number none", undefined],
  ])("that %s and send calls whole are understood", async (_, index) => {
    await using server = await sending(call("a", "1", index), call("b", "2", index), delta({}, "stop"));
    expect(await end(server.baseUrl)).toMatchObject({
      stop: "tool",
      parts: [
        { callId: "a", argumentsText: "1" },
        { callId: "b", argumentsText: "2" },
      ],
    });
  });

  test("that name a call in each of many pieces don't have all of it read with each", () => {
    const bad = (what: string) => new CapstanError("provider.bad_answer", what);
    const answer = openChatAnswer(request, {
      wire: "test",
      badAnswer: bad,
      broke: (code, said) => new CapstanError(code, said),
    });
    const piece = (text: string): unknown => delta({ tool_calls: [{ function: { name: "echo", arguments: text } }] });
    using parse = vi.spyOn(JSON, "parse");
    for (const text of ['{"text":"', ...Array<string>(2_000).fill("}".repeat(1_000)), '"}']) answer.push(piece(text));
    // What is no JSON for all its braces is no end of a call, and is found out once.
    for (const text of ['{"text" "', "x".repeat(1_000_000), '"}', ...Array<string>(200).fill(" ")])
      answer.push(piece(text));
    const read = parse.mock.calls.reduce((sum, [text]) => sum + text.length, 0);
    expect(read).toBeGreaterThan(2_000_000);
    expect(read).toBeLessThan(4_000_000);
    answer.push(delta({}, "tool_calls"));
    const events = answer.end();
    expect(events).toMatchObject([
      { type: "tool.ready", name: "echo" },
      { type: "message.ended", parts: [{ name: "echo" }, { name: "echo" }], stop: "tool" },
    ]);
  });

  test("that number no calls and name each in one piece have long ones kept apart, whatever braces are in them", async () => {
    const texts = ['{"text":"\\"}{"}', `{"text":"${"{".repeat(300_000)}"}`, ' {"a":{"b":[{}]}}\n', "{}"];
    const pieces = texts.map((text) => delta({ tool_calls: [{ function: { name: "echo", arguments: text } }] }));
    await using server = await sending(...pieces, delta({}, "stop"));
    const { parts } = await end(server.baseUrl);
    expect(parts.map((part) => part.type === "tool_call" && part.argumentsText)).toEqual(texts);
  });

  test("that tell cached and reasoning tokens have each token counted once", async () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 50,
      prompt_tokens_details: { cached_tokens: 30 },
      completion_tokens_details: { reasoning_tokens: 20 },
    };
    await using server = await sending(delta({ content: "ok" }), delta({}, "stop"), { choices: [], usage });
    const counted = { inputUncached: 70, cacheRead: 30, cacheWrite5m: 0, cacheWrite1h: 0, output: 30, reasoning: 20 };
    expect((await end(server.baseUrl)).usage).toEqual(counted);
  });

  test("that say text and thoughts in parts are understood", async () => {
    const thinking = (words: string) => [{ type: "thinking", thinking: [{ type: "text", text: words }] }];
    const pieces = [
      thinking("Ec"),
      thinking("ho."),
      [
        { type: "text", text: "H" },
        { type: "reference", ids: [1] },
      ],
      "i.",
    ];
    await using server = await sending(...pieces.map((content) => delta({ content })), delta({}, "stop"));
    expect((await end(server.baseUrl)).parts).toEqual([
      { type: "reasoning", text: "Echo." },
      { type: "text", text: "Hi." },
    ]);
  });

  test("that count nothing are estimated", async () => {
    await using server = await sending(delta({ content: "ok" }), delta({}, "stop"));
    const { usage } = await end(server.baseUrl);
    expect(usage.inputUncached).toBeGreaterThan(10);
    expect(usage.output).toBeGreaterThan(0);
  });

  test.each([
    ["length", { content: "cut" }, "length"],
    ["content_filter", { content: "no" }, "filtered"],
    ["stop", { refusal: "I can't." }, "refusal"],
    ["something new", { content: "ok" }, "end"],
  ])("that stop for %s say so", async (reason, change, stop) => {
    await using server = await sending(delta(change), delta({}, reason));
    expect(await end(server.baseUrl)).toMatchObject({ stop, parts: [{ type: "text" }] });
  });
});

test("a schema of the answer is not sent beside tools, which could not be called any more", () => {
  const answerSchema = { type: "object" };
  const wire = { wire: "openai-compatible at here" };
  expect(toChatBody({ ...request, answerSchema }, wire).response_format).toBeUndefined();
  expect(toChatBody({ ...request, tools: [], answerSchema }, wire).response_format).toEqual({
    type: "json_schema",
    json_schema: { name: "answer", schema: answerSchema },
  });
});

test("a model that refuses has none of its calls performed", async () => {
  const chunks = [delta({ tool_calls: [{ index: 0, id: "a", function: { name: "echo", arguments: "{}" } }] })];
  const refused = [...chunks, delta({ refusal: "No." }), delta({}, "stop")];
  await using server = await openSseServer((response) => response.writeHead(200, sseHead).end(toSse(refused)));
  const { raw, stop, parts } = await end(server.baseUrl);
  expect([raw, stop, parts]).toEqual([undefined, "refusal", [{ type: "text", text: "No." }]]);
});

describe("what goes back to who said it", () => {
  const call = (index: number, id: string, text: string, more: object = {}): unknown =>
    delta({ tool_calls: [{ index, id, ...more, function: { name: "echo", arguments: text } }] });
  const result = (callId: string): ContextMessage => ({
    role: "tool",
    callId,
    name: "echo",
    outcome: { isError: false, content: [{ type: "text", text: "said" }] },
  });
  const task: ContextMessage = { role: "user", content: [{ type: "text", text: "hello" }] };

  /** What is sent after this answer, with ids of the run. */
  async function sendAfter(chunks: readonly unknown[], more: readonly ContextMessage[]) {
    await using server = await openSseServer((response) => response.writeHead(200, sseHead).end(toSse(chunks)));
    const { parts, raw } = endOf(await ask(chat, server.baseUrl));
    let calls = 0;
    const ours = parts.map((part) => (part.type === "tool_call" ? { ...part, callId: `ours_${calls++}` } : part));
    const said: ContextMessage = { role: "assistant", parts: ours, ...(raw === undefined ? {} : { raw }) };
    await ask(chat, server.baseUrl, { ...request, messages: [task, said, ...more] });
    const { messages } = JSON.parse(server.requests.at(-1)?.body ?? "");
    return { raw, said: messages[2], result: messages[3] };
  }

  test("is its reasoning, in the field where it came, while the turn lasts, and not after it", async () => {
    const chunks = [delta({ reasoning: "hm" }), call(0, "a", "{}"), delta({}, "tool_calls")];
    const during = await sendAfter(chunks, [result("ours_0")]);
    expect(during.said).toMatchObject({ reasoning: "hm", tool_calls: [{ id: "a" }] });
    expect(during.result).toMatchObject({ tool_call_id: "a" });
    const after = await sendAfter(chunks, [result("ours_0"), task]);
    expect(after.said).toEqual({
      role: "assistant",
      content: null,
      tool_calls: [{ id: "a", type: "function", function: { name: "echo", arguments: "{}" } }],
    });
  });

  test("is what it said beside a call, such as a signature", async () => {
    const extra_content = { google: { thought_signature: "c2ln" } };
    const { said } = await sendAfter([call(0, "a", "{}", { extra_content }), delta({}, "stop")], [result("ours_0")]);
    expect(said.tool_calls).toMatchObject([{ id: "a", extra_content }]);
  });

  test("is never what templates of servers fail at: arguments that are no object, and ids that are not apart", async () => {
    const malformed = await sendAfter([call(0, "a", '{"te'), delta({}, "stop")], [result("ours_0")]);
    expect(malformed.raw).toBeUndefined();
    expect(malformed.said.tool_calls).toMatchObject([
      { id: toChatCallId("ours_0"), function: { arguments: JSON.stringify({ invalid_json: '{"te' }) } },
    ]);
    const twice = await sendAfter(
      [call(0, "a", "{}"), call(1, "a", "{}"), delta({}, "stop")],
      [result("ours_0"), result("ours_1")],
    );
    expect(twice.raw).toBeUndefined();
    expect(twice.said.tool_calls).toMatchObject([{ id: toChatCallId("ours_0") }, { id: toChatCallId("ours_1") }]);
    // What Mistral demands, and OpenAI takes.
    expect(toChatCallId("call_0123456789ab0123456789abcdef01234567")).toMatch(/^[A-Za-z0-9]{9}$/);
  });
});

import { LLMock } from "@copilotkit/aimock";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { HostConfig } from "../../src/host/config.ts";
import { openProvider } from "../../src/host/providers/all.ts";
import { testTool } from "../support/door.ts";
import { ask, end } from "./ask.ts";
import { openTestHost } from "./scripted.ts";
import { delta, openSseServer, sseHead, toSse } from "./sse-server.ts";

describe("Chat Completions on a mock of the provider", () => {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", chunkSize: 5 });
  beforeAll(() => mock.start());
  afterAll(() => mock.stop());
  beforeEach(() => void mock.reset());

  test("streams text, reasoning and usage", async () => {
    const usage = { prompt_tokens: 100, completion_tokens: 50 };
    mock.onMessage("hello", { content: "Hi there, how are you?", reasoning: "They greet me.", usage });
    const events = await ask(`${mock.url}/v1`);
    const text = events.flatMap((event) => (event.type === "text.delta" ? [event.text] : []));
    expect(text.length).toBeGreaterThan(1);
    expect(text.join("")).toBe("Hi there, how are you?");
    expect(events.at(-1)).toMatchObject({
      type: "message.ended",
      stop: "end",
      parts: [
        { type: "reasoning", text: "They greet me." },
        { type: "text", text: "Hi there, how are you?" },
      ],
      usage: { inputUncached: 100, cacheRead: 0, output: 50, reasoning: 0 },
    });
  });

  test("puts parallel tool calls together", async () => {
    const toolCalls = ["a", "b", "c"].map((text) => ({ name: "echo", arguments: JSON.stringify({ text }) }));
    mock.onMessage("hello", { toolCalls });
    const last = await end(`${mock.url}/v1`);
    expect(last.stop).toBe("tool");
    expect(last.parts).toMatchObject(
      toolCalls.map(({ name, arguments: argumentsText }) => ({ type: "tool_call", name, argumentsText })),
    );
    expect(mock.getLastRequest()?.body).toMatchObject({
      model: "test-model",
      stream: true,
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "hello" },
      ],
      tools: [{ type: "function", function: { name: "echo", parameters: { type: "object" } } }],
    });
  });

  test.each([
    [401, "provider.sign_in", false],
    [403, "provider.sign_in", false],
    [404, "provider.bad_request", false],
    [400, "provider.bad_request", false],
    [429, "provider.rate_limited", true],
    [500, "provider.unavailable", true],
    [503, "provider.unavailable", true],
  ])("tells %i as %s", async (status, code) => {
    mock.nextRequestError(status, { message: "as the provider says it" });
    await expect(ask(`${mock.url}/v1`)).rejects.toMatchObject({ code });
    // Nothing was retried behind the driver's back.
    expect(mock.getRequests()).toHaveLength(1);
  });

  test("drives a whole run, through a failure that passes", async () => {
    mock.on(
      { userMessage: "What does echo say?", hasToolResult: false },
      { toolCalls: [{ name: "echo", arguments: '{"text":"hello"}' }] },
    );
    mock.on({ hasToolResult: true }, { content: "It says hello." });
    mock.nextRequestError(500);
    const config = HostConfig.parse({ providers: { mine: { baseUrl: `${mock.url}/v1` } } });
    const provider = openProvider("mine:test-model", { config, env: {} });
    await using at = await openTestHost({ tools: [testTool("echo")], provider, config });
    const outcome = await at.start("What does echo say?", { model: "mine:test-model" });
    expect(outcome).toMatchObject({ status: "done", answer: "It says hello.", toolCalls: 1, turns: 2 });
    expect(at.slept).toEqual([1_000]);
    expect(outcome.usage.output).toBeGreaterThan(0);
    const messages = mock.getLastRequest()?.body?.["messages"];
    expect(messages).toMatchObject([
      { role: "system" },
      { role: "user", content: "What does echo say?" },
      { role: "assistant", tool_calls: [{ function: { name: "echo", arguments: '{"text":"hello"}' } }] },
      { role: "tool", content: '{"text":"hello"}' },
    ]);
  });
});

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

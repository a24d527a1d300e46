import { LLMock } from "@copilotkit/aimock";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { HostConfig } from "../../../src/host/config.ts";
import { openProvider } from "../../../src/host/providers/all.ts";
import { testTool } from "../../support/door.ts";
import { openTestHost } from "../scripted.ts";
import { chat } from "./chat-story.ts";
import { responses } from "./responses-story.ts";
import { ask, endOf } from "./tell.ts";

describe.each([
  { type: "openai", wire: responses, usage: { input_tokens: 100, output_tokens: 50 } },
  { type: "openai-compatible", wire: chat, usage: { prompt_tokens: 100, completion_tokens: 50 } },
])("$type on a mock of the provider", ({ type, wire, usage }) => {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", chunkSize: 5 });
  beforeAll(() => mock.start());
  afterAll(() => mock.stop());
  beforeEach(() => void mock.reset());

  test("streams text, reasoning and usage", async () => {
    mock.onMessage("hello", { content: "Hi there, how are you?", reasoning: "They greet me.", usage });
    const events = await ask(wire, `${mock.url}/v1`);
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
    const { stop, parts } = endOf(await ask(wire, `${mock.url}/v1`));
    expect(stop).toBe("tool");
    expect(parts).toMatchObject(
      toolCalls.map(({ name, arguments: argumentsText }) => ({ type: "tool_call", name, argumentsText })),
    );
  });

  test("tells each status by its code, and is asked once", async () => {
    const statuses = [
      [401, "provider.sign_in"],
      [404, "provider.bad_request"],
      [429, "provider.rate_limited"],
      [503, "provider.unavailable"],
    ] as const;
    for (const [status, code] of statuses) {
      mock.reset();
      mock.nextRequestError(status, { message: "as the provider says it" });
      await expect(ask(wire, `${mock.url}/v1`)).rejects.toMatchObject({ code });
      // Nothing was retried behind the driver's back.
      expect(mock.getRequests()).toHaveLength(1);
    }
  });

  test("drives a whole run", async () => {
    mock.on(
      { userMessage: "What does echo say?", hasToolResult: false },
      { toolCalls: [{ name: "echo", arguments: '{"text":"hello"}' }], reasoning: "I ask it." },
    );
    mock.on({ hasToolResult: true }, { content: "It says hello." });
    const config = HostConfig.parse({ providers: { mine: { type, baseUrl: `${mock.url}/v1` } } });
    const provider = openProvider("mine:test-model", { config, env: {} });
    await using at = await openTestHost({ tools: [testTool("echo")], provider, config });
    const outcome = await at.start("What does echo say?", { model: "mine:test-model" });
    expect(outcome).toMatchObject({ status: "done", answer: "It says hello.", toolCalls: 1, turns: 2 });
    expect(mock.getRequests()).toHaveLength(2);
  });
});

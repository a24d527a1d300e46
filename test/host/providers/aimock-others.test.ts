import { LLMock } from "@copilotkit/aimock";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { HostConfig } from "../../../src/host/config.ts";
import { openProvider } from "../../../src/host/providers/all.ts";
import { testTool } from "../../support/door.ts";
import { openTestHost } from "../scripted.ts";
import { messages } from "./anthropic-story.ts";
import { ollamaChat } from "./ollama-story.ts";
import { ask, endOf, request } from "./tell.ts";

const reasoning = [{ type: "reasoning", text: "They greet me." }];

describe.each([
  { type: "anthropic", wire: messages, before: reasoning, usage: { inputUncached: 100, output: 50 } },
  // The mock has neither reasoning nor counts for Ollama; ollama.test.ts does.
  { type: "ollama", wire: ollamaChat, before: [], usage: { inputUncached: 0, output: 0 } },
])("$type on a mock of the provider", ({ type, wire, before, usage }) => {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", logLevel: "silent", chunkSize: 5 });
  beforeAll(() => mock.start());
  afterAll(() => mock.stop());
  beforeEach(() => void mock.reset());

  test("streams text, reasoning and usage", async () => {
    mock.onMessage("hello", {
      content: "Hi there, how are you?",
      reasoning: "They greet me.",
      usage: { input_tokens: 100, output_tokens: 50 },
    });
    const events = await ask(wire, mock.url);
    const text = events.flatMap((event) => (event.type === "text.delta" ? [event.text] : []));
    expect(text.length).toBeGreaterThan(1);
    expect(text.join("")).toBe("Hi there, how are you?");
    expect(endOf(events)).toMatchObject({
      stop: "end",
      parts: [...before, { type: "text", text: "Hi there, how are you?" }],
      usage,
    });
  });

  test("puts parallel tool calls together", async () => {
    const toolCalls = ["a", "b", "c"].map((text) => ({ name: "echo", arguments: JSON.stringify({ text }) }));
    mock.onMessage("hello", { toolCalls });
    const events = await ask(wire, mock.url);
    const { stop, parts } = endOf(events);
    expect(stop).toBe("tool");
    expect(parts).toMatchObject(
      toolCalls.map(({ name, arguments: argumentsText }) => ({ type: "tool_call", name, argumentsText })),
    );
    expect(events.filter((event) => event.type === "tool.ready")).toHaveLength(3);
  });

  test("is told by its status, and asked once", async () => {
    for (const [status, code] of [
      [401, "provider.sign_in"],
      [429, "provider.rate_limited"],
      [529, "provider.unavailable"],
    ] as const) {
      mock.reset();
      mock.nextRequestError(status, { message: "as the provider says it" });
      await expect(ask(wire, mock.url)).rejects.toMatchObject({ code });
      expect(mock.getRequests()).toHaveLength(1);
    }
  });

  test("gives no half of an answer that breaks off", async () => {
    mock.onMessage("hello", { content: "Hi there, how are you?" }, { truncateAfterChunks: 4 });
    await expect(ask(wire, mock.url, request)).rejects.toMatchObject({ code: "provider.unavailable" });
  });

  test("drives a whole run, through a failure that passes", async () => {
    mock.on(
      { userMessage: "What does echo say?", hasToolResult: false },
      { toolCalls: [{ name: "echo", arguments: '{"text":"hello"}' }] },
    );
    mock.on({ hasToolResult: true }, { content: "It says hello." });
    mock.nextRequestError(500);
    const config = HostConfig.parse({ providers: { mine: { type, baseUrl: mock.url } } });
    const provider = openProvider("mine:test-model", { config, env: {} });
    await using at = await openTestHost({ tools: [testTool("echo")], provider, config });
    const outcome = await at.start("What does echo say?", { model: "mine:test-model" });
    expect(outcome).toMatchObject({ status: "done", answer: "It says hello.", toolCalls: 1, turns: 2 });
    expect(mock.getRequests()).toHaveLength(3);
  });
});

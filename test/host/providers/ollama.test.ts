import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import type { Block } from "../../../src/core/event.ts";
import type { ContextMessage } from "../../../src/core/run.ts";
import { Endpoint, HostConfig } from "../../../src/host/config.ts";
import type { ModelRequest } from "../../../src/host/provider.ts";
import { openProvider } from "../../../src/host/providers/all.ts";
import type { OllamaOptions } from "../../../src/host/providers/ollama-body.ts";
import { toOllamaBody } from "../../../src/host/providers/ollama-body.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import { openTestHost } from "../scripted.ts";
import { openSseServer } from "../sse-server.ts";
import { ollamaChat as wire, toLine, toLines } from "./ollama-story.ts";
import { ask, askOverPieces, endOf, openTeller, request } from "./tell.ts";

const call = (args: object) => ({ function: { name: "echo", arguments: args } });
const end = (done_reason = "stop") => ({ ...toLine({}), done: true, done_reason, prompt_eval_count: 3, eval_count: 2 });
const body = (over: Partial<ModelRequest>, options?: OllamaOptions) =>
  toOllamaBody({ ...request, ...over }, { wire: "ollama at http://127.0.0.1:11434" }, options);
const user = (...content: readonly Block[]): ContextMessage => ({ role: "user", content });

describe("an answer of Ollama", () => {
  test("with several calls in one line is the same wherever it is split", async () => {
    const calls = [call({ text: "é" }), call({ text: "🙂" }), { function: { name: "echo", arguments: null } }];
    const bytes = Buffer.from(
      toLines([toLine({ thinking: "Hm." }), toLine({ content: "So" }), toLine({ tool_calls: calls }), end()]),
    );
    const whole = await askOverPieces(wire, [bytes]);
    expect(endOf(whole)).toMatchObject({
      stop: "tool",
      parts: [
        { type: "reasoning", text: "Hm." },
        { type: "text", text: "So" },
        { type: "tool_call", callId: "call_0", argumentsText: '{"text":"é"}' },
        { type: "tool_call", callId: "call_1", argumentsText: '{"text":"🙂"}' },
        { type: "tool_call", callId: "call_2", argumentsText: "{}" },
      ],
      raw: { blocks: { thinking: "Hm." } },
    });
    for (let at = 1; at < bytes.length; at += 1) {
      expect(await askOverPieces(wire, [bytes.subarray(0, at), bytes.subarray(at)])).toEqual(whole);
    }
  });

  test("that fails says so in Ollama's words, wherever its line is split", async () => {
    const bytes = Buffer.from(toLines([toLine({ content: "so far" }), { error: "model runner has stopped" }]));
    for (let at = 1; at < bytes.length; at += 1) {
      await expect(askOverPieces(wire, [bytes.subarray(0, at), bytes.subarray(at)])).rejects.toMatchObject({
        code: "provider.unavailable",
        message: expect.stringContaining("model runner has stopped"),
      });
    }
  });

  test("prints nothing, whatever comes: standard output belongs to the protocol", async () => {
    const printed = [vi.spyOn(console, "log"), vi.spyOn(console, "warn"), vi.spyOn(console, "error")];
    try {
      await using page = await openSseServer((response) => {
        response.writeHead(500, { "content-type": "text/html" }).end("<html>");
      });
      await expect(ask(wire, page.baseUrl)).rejects.toMatchObject({ code: "provider.unavailable" });
      await using garbled = await openTeller(wire, "{oops\n");
      await expect(ask(wire, garbled.baseUrl)).rejects.toMatchObject({ code: "provider.bad_answer" });
      await using empty = await openTeller(wire, `\n\r\n${toLines([end()])}\n\n`);
      await ask(wire, empty.baseUrl);
      await using cut = await openTeller(wire, "{oops");
      await expect(ask(wire, cut.baseUrl)).rejects.toMatchObject({ code: "provider.unavailable" });
      for (const spy of printed) expect(spy).not.toHaveBeenCalled();
    } finally {
      for (const spy of printed) spy.mockRestore();
    }
  });

  test("that there is none, for a model that is not there, says how to get it", async () => {
    await using server = await openSseServer((response) => {
      response.writeHead(404, { "content-type": "application/json" }).end('{"error":"model \'test-model\' not found"}');
    });
    await expect(ask(wire, server.baseUrl)).rejects.toMatchObject({
      code: "provider.bad_request",
      message: expect.stringMatching(/model 'test-model' not found\. Get it with `ollama pull test-model`/),
    });
  });

  test("that is a full context is told as one, in a line as well", async () => {
    await using server = await openTeller(wire, toLines([{ error: "the input length exceeds the context length" }]));
    expect(endOf(await ask(wire, server.baseUrl))).toMatchObject({ stop: "context_full", parts: [] });
  });

  test("that ends at the edge of the context is told as a full one, and one that reached its bound is not", async () => {
    const stopOf = async (windowTokens: number | undefined, settings: ModelRequest["settings"] = {}) => {
      const ended = { ...end("length"), prompt_eval_count: 3_900, eval_count: 195 };
      await using server = await openTeller(wire, toLines([toLine({ content: "so far" }), ended]));
      const asked = { ...request, settings, ...(windowTokens === undefined ? {} : { windowTokens }) };
      const { stop, parts } = endOf(await ask(wire, server.baseUrl, asked));
      expect(parts).toEqual([{ type: "text", text: "so far" }]);
      return stop;
    };
    expect(await stopOf(4_096)).toBe("context_full");
    expect(await stopOf(4_096, { maxOutputTokens: 500 })).toBe("context_full");
    expect(await stopOf(4_096, { maxOutputTokens: 195 })).toBe("length");
    expect(await stopOf(8_192)).toBe("length");
    expect(await stopOf(undefined)).toBe("length");
  });

  test("with empty lines in it is the same", async () => {
    const bytes = `\n${toLines([toLine({ content: "so" }), end()]).replace("\n", "\r\n\r\n\n")}`;
    await using server = await openTeller(wire, bytes);
    expect(endOf(await ask(wire, server.baseUrl)).parts).toEqual([{ type: "text", text: "so" }]);
  });

  test("that nobody counted is estimated", async () => {
    await using server = await openTeller(wire, toLines([toLine({ content: "ok" }), { ...toLine({}), done: true }]));
    const { usage } = endOf(await ask(wire, server.baseUrl));
    expect(usage.inputUncached).toBeGreaterThan(10);
    expect(usage.output).toBeGreaterThan(0);
  });
});

describe("a request to Ollama", () => {
  test("reads no file: what looks like a path is sent as it is", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "secret");
    await writeFile(path, "secret words");
    await using server = await openTeller(wire, toLines([end()]));
    const images = [path, Buffer.from("a picture").toString("base64")];
    const content = images.map((data) => ({ type: "image" as const, mimeType: "image/png", data }));
    await ask(wire, server.baseUrl, { ...request, messages: [user(...content)] });
    expect(JSON.parse(server.requests[0]?.body ?? "")).toMatchObject({ messages: [{}, { role: "user", images }] });
    expect(server.requests[0]?.body).not.toContain(Buffer.from("secret words").toString("base64"));
  });

  test("says how large the context is: as the config says, else as large as the run takes it for", () => {
    expect(body({}).options).toEqual({});
    expect(body({ windowTokens: 8_000 }).options).toEqual({ num_ctx: 8_000 });
    expect(body({ windowTokens: 8_000 }, { contextTokens: 9_000 }).options).toEqual({ num_ctx: 9_000 });
    expect(body({})).toMatchObject({ truncate: false, shift: false });
  });

  test("holds no schema that Ollama can't read", () => {
    const inputSchema = {
      type: "object",
      properties: { any: true, list: { type: "array" }, deep: { type: "object", properties: { any: true } } },
    };
    expect(body({ tools: [{ name: "odd", description: "", inputSchema }] }).tools?.[0]?.function.parameters).toEqual({
      type: "object",
      properties: { any: {}, list: { type: "array" }, deep: { type: "object", properties: { any: {} } } },
    });
  });

  test("says how long to stay loaded, a bare number as a number", () => {
    expect(body({})).not.toHaveProperty("keep_alive");
    const said = ["10m", "1h30m", "-1", "300", "1.5", 300, -1].map((keepAlive) => body({}, { keepAlive }).keep_alive);
    expect(said).toEqual(["10m", "1h30m", -1, 300, 1.5, 300, -1]);
  });

  test("takes of the config a time that Ollama can read, and no other", () => {
    const isTaken = (keepAlive: unknown) => Endpoint.safeParse({ type: "ollama", keepAlive }).success;
    for (const time of ["10m", "1h30m", "1.5h", "500ms", "0", "-1", "-1m", "300", "1.5", 300, 0, -1]) {
      expect([time, isTaken(time)]).toEqual([time, true]);
    }
    for (const time of ["", "10 m", "m", "1d", "1h30", "1.h", "for ever", "1e3", "0x10", Number.NaN, -2, null]) {
      expect([time, isTaken(time)]).toEqual([time, false]);
    }
  });

  test("names levels of thinking to the models that know them, and else says yes or no", () => {
    const asked = (model: string, reasoning: "off" | "low" | "high") => body({ model, settings: { reasoning } }).think;
    expect([asked("gpt-oss:20b", "low"), asked("gpt-oss:20b", "high")]).toEqual(["low", "high"]);
    expect([asked("qwen3", "low"), asked("qwen3", "off"), asked("gpt-oss:20b", "off")]).toEqual([true, false, false]);
    expect(body({})).not.toHaveProperty("think");
  });

  test("asks for a form only where there are no tools, which it would forbid", () => {
    const answerSchema = { type: "object" };
    expect(body({ answerSchema, tools: [] }).format).toEqual(answerSchema);
    expect(body({ answerSchema })).not.toHaveProperty("format");
  });
});

test("a run with Ollama is driven to its end, by an endpoint of the config", async () => {
  const answers = [
    [toLine({ thinking: "Let it speak." }), toLine({ tool_calls: [call({ text: "hi" })] }), end()],
    [toLine({ content: "It says hi." }), end()],
  ];
  let next = 0;
  await using server = await openSseServer((response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" }).end(toLines(answers[next++] ?? []));
  });
  const mine = { type: "ollama", baseUrl: server.baseUrl, contextTokens: 16_000, keepAlive: "1h" };
  const config = HostConfig.parse({ providers: { mine } });
  const provider = openProvider("mine:qwen3", { config, env: {} });
  await using at = await openTestHost({ tools: [testTool("echo")], provider, config });
  const outcome = await at.start("What does echo say?", { model: "mine:qwen3" });
  expect(outcome).toMatchObject({ status: "done", answer: "It says hi.", toolCalls: 1, turns: 2 });
  expect(JSON.parse(server.requests[1]?.body ?? "")).toMatchObject({
    keep_alive: "1h",
    options: { num_ctx: 16_000 },
    messages: [
      { role: "system" },
      { role: "user", content: "What does echo say?" },
      {
        role: "assistant",
        thinking: "Let it speak.",
        tool_calls: [{ function: { name: "echo", arguments: { text: "hi" } } }],
      },
      { role: "tool", tool_name: "echo", content: '{"text":"hi"}' },
    ],
  });
});

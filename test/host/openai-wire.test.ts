import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { ModelRequest } from "../../src/host/provider.ts";
import { openaiCompatible } from "../../src/host/providers/openai-compatible.ts";
import { ask, end, request } from "./ask.ts";
import { delta, openSseServer, sseHead, toSse } from "./sse-server.ts";

describe("Chat Completions byte by byte", () => {
  const call = (
    index: number | undefined,
    id: string | undefined,
    name: string | undefined,
    args: string,
  ): unknown => ({
    tool_calls: [
      {
        ...(index === undefined ? {} : { index }),
        ...(id === undefined ? {} : { id }),
        function: { name, arguments: args },
      },
    ],
  });
  const chunks = [
    delta({ content: "é " }),
    delta(call(0, "a", "echo", '{"te')),
    delta(call(1, "b", "echo", "")),
    delta(call(0, undefined, undefined, 'xt":"1"}')),
    delta({}, "tool_calls"),
    { choices: [], usage: { prompt_tokens: 7, completion_tokens: 5 } },
  ];
  const bytes = toSse(chunks);
  const whole = {
    type: "message.ended",
    stop: "tool",
    parts: [
      { type: "text", text: "é " },
      { type: "tool_call", callId: "a", name: "echo", argumentsText: '{"text":"1"}' },
      { type: "tool_call", callId: "b", name: "echo", argumentsText: "" },
    ],
    usage: { inputUncached: 7, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 5, reasoning: 0 },
  };

  test("is the same wherever the stream is split", async () => {
    let at = 0;
    await using server = await openSseServer((response) => {
      response.writeHead(200, sseHead);
      response.write(bytes.subarray(0, at));
      setImmediate(() => response.end(bytes.subarray(at)));
    });
    for (at = 1; at < bytes.length; at += 3) expect(await end(server.baseUrl)).toEqual(whole);
  });

  test("is the whole answer or none, wherever the stream is cut", async () => {
    let at = 0;
    let hard = false;
    await using server = await openSseServer((response) => {
      response.writeHead(200, sseHead);
      response.write(bytes.subarray(0, at), () => (hard ? response.destroy() : response.end()));
    });
    const finish = bytes.indexOf('"tool_calls"}]}');
    const seen: { readonly at: number; readonly told: unknown }[] = [];
    for (at = 0; at < bytes.length; at += 1) {
      hard = at % 2 === 0;
      const told = await end(server.baseUrl).then(
        ({ parts }) => parts,
        (thrown: unknown) => (thrown instanceof CapstanError ? thrown.code : thrown),
      );
      seen.push({ at, told });
    }
    const [cut, complete] = [
      seen.filter(({ told }) => !Array.isArray(told)),
      seen.filter(({ told }) => Array.isArray(told)),
    ];
    expect(new Set(cut.map(({ told }) => told))).toEqual(new Set(["provider.unavailable", "provider.bad_answer"]));
    expect(cut.length).toBeGreaterThan(finish);
    for (const { at: place, told } of complete) {
      expect(told).toEqual(whole.parts);
      expect(place).toBeGreaterThan(finish);
    }
    expect(complete.length).toBeGreaterThan(0);
  });
});

describe("an endpoint that misbehaves", () => {
  const answering = (head: Record<string, string>, body: string | Buffer, status = 200) =>
    openSseServer((response) => {
      response.writeHead(status, head);
      response.end(body);
    });
  const ended = delta({}, "stop");

  test.each<[string, Record<string, string>, string | Buffer, string]>([
    ["a page", { "content-type": "text/html" }, "<html>", "provider.bad_answer"],
    ["what is no JSON", sseHead, "data: {not json}\n\n", "provider.bad_answer"],
    ["a chunk that is none", sseHead, toSse(["hello"]), "provider.bad_answer"],
    ["a chunk of another shape", sseHead, toSse([{ choices: "none" }]), "provider.bad_answer"],
    ["a call out of bounds", sseHead, toSse([delta({ tool_calls: [{ index: 1e9 }] }), ended]), "provider.bad_answer"],
    [
      "a call without a name",
      sseHead,
      toSse([delta({ tool_calls: [{ index: 0, id: "a" }] }), ended]),
      "provider.bad_answer",
    ],
    ["nothing", sseHead, "", "provider.unavailable"],
    ["an error within the stream", sseHead, toSse([{ error: { message: "overloaded" } }]), "provider.unavailable"],
    ["more than any answer has", sseHead, Buffer.alloc(40 * 1024 * 1024, ": padding\n"), "provider.bad_answer"],
  ])("is told when it sends %s", async (_, head, body, code) => {
    await using server = await answering(head, body);
    await expect(ask(server.baseUrl)).rejects.toMatchObject({ code });
  });

  test("is told when nobody listens", async () => {
    const server = await answering(sseHead, "");
    await server[Symbol.asyncDispose]();
    await expect(ask(server.baseUrl)).rejects.toMatchObject({ code: "provider.unavailable" });
  });

  test("is told when it is silent, at the start or in the middle; slow is not silent", async () => {
    await using mute = await openSseServer(() => {});
    await expect(ask(mute.baseUrl, { silenceMs: 150 })).rejects.toMatchObject({ code: "provider.timeout" });
    await using stuck = await openSseServer((response) => {
      response.writeHead(200, sseHead).write(toSse([delta({ content: "and then" })], false));
    });
    await expect(ask(stuck.baseUrl, { silenceMs: 150 })).rejects.toMatchObject({ code: "provider.timeout" });
    await using slow = await openSseServer(async (response) => {
      response.writeHead(200, sseHead);
      for (let beat = 0; beat < 8; beat += 1) {
        response.write(": still here\n\n");
        await wait(60);
      }
      response.end(toSse([delta({ content: "slow" }), ended]));
    });
    expect(await end(slow.baseUrl, { silenceMs: 300 })).toMatchObject({ parts: [{ text: "slow" }] });
  });

  test("is left at once when the caller aborts, and with the caller's reason", async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await openSseServer((response) => {
      response.on("close", () => closed.resolve());
      response.writeHead(200, sseHead).write(toSse([delta({ content: "and then" })], false));
    });
    const controller = new AbortController();
    const reason = new CapstanError("core.interrupted", "Stop.");
    const provider = openaiCompatible({ name: "test", baseUrl: server.baseUrl, silenceMs: 10_000 });
    const reading = (async () => {
      for await (const event of provider.stream(request, controller.signal)) {
        if (event.type === "text.delta") controller.abort(reason);
      }
    })();
    await expect(reading).rejects.toBe(reason);
    await closed.promise;
  });

  test("is told how long to wait by its own headers", async () => {
    await using server = await answering({ "retry-after": "7" }, "", 429);
    await expect(ask(server.baseUrl)).rejects.toMatchObject({
      code: "provider.rate_limited",
      details: { retryAfterMs: 7_000 },
    });
    await using exact = await answering({ "retry-after-ms": "250", "retry-after": "7" }, "", 429);
    await expect(ask(exact.baseUrl)).rejects.toMatchObject({ details: { retryAfterMs: 250 } });
    await using silent = await answering({}, "", 429);
    await expect(ask(silent.baseUrl)).rejects.toMatchObject({ details: { retryAfterMs: 0 } });
  });

  test("is quoted in one short line without the key", async () => {
    const body = JSON.stringify({ error: { message: `no\u001B[2J model for key-1234 ${"x".repeat(5_000)}` } });
    await using server = await answering({ "content-type": "application/json" }, body, 400);
    const thrown = await ask(server.baseUrl, { apiKey: "key-1234" }).catch((error: unknown) => error);
    const message = thrown instanceof CapstanError ? thrown.message : "";
    expect(message).toMatch(/answered 400: .*no \[2J model for \[key\]/);
    expect(message.length).toBeLessThan(600);
  });
});

describe("what is sent", () => {
  const chunks = toSse([delta({ content: "ok" }), delta({}, "stop")]);

  test("is the configured key alone, whatever the environment holds", async () => {
    await using server = await openSseServer((response) => response.writeHead(200, sseHead).end(chunks));
    const before = { ...process.env };
    Object.assign(process.env, {
      OPENAI_API_KEY: "from-env",
      OPENAI_ORG_ID: "org-env",
      OPENAI_CUSTOM_HEADERS: "x-env: 1",
    });
    try {
      await ask(server.baseUrl);
      await ask(server.baseUrl, { apiKey: "configured" });
    } finally {
      for (const name of ["OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_CUSTOM_HEADERS"]) delete process.env[name];
      Object.assign(process.env, before);
    }
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, "Bearer configured"]);
    expect(JSON.stringify(server.requests)).not.toMatch(/from-env|org-env|x-env/);
    expect(server.requests.map(({ url }) => url)).toEqual(["/v1/chat/completions", "/v1/chat/completions"]);
  });

  test("joins neighbouring user messages and answers each call", async () => {
    await using server = await openSseServer((response) => response.writeHead(200, sseHead).end(chunks));
    const outcome = {
      isError: true,
      code: "tool.failed",
      content: [{ type: "text" as const, text: "tool.failed: no" }],
    };
    const messages: ModelRequest["messages"] = [
      { role: "user", content: [{ type: "text", text: "task" }] },
      { role: "user", content: [{ type: "text", text: "stdin" }] },
      {
        role: "assistant",
        parts: [
          { type: "reasoning", text: "hm" },
          { type: "tool_call", callId: "a", name: "echo", argumentsText: "" },
        ],
      },
      { role: "tool", callId: "a", name: "echo", outcome },
      {
        role: "user",
        content: [
          { type: "text", text: "see" },
          { type: "image", mimeType: "image/png", data: "AAAA" },
        ],
      },
    ];
    await ask(server.baseUrl, {}, { model: "m", messages, tools: [], maxOutputTokens: 5, temperature: 0 });
    expect(JSON.parse(server.requests[0]?.body ?? "")).toEqual({
      model: "m",
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 5,
      temperature: 0,
      messages: [
        { role: "user", content: "task\n\nstdin" },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "a", type: "function", function: { name: "echo", arguments: "{}" } }],
        },
        { role: "tool", tool_call_id: "a", content: "tool.failed: no" },
        {
          role: "user",
          content: [
            { type: "text", text: "see" },
            { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
          ],
        },
      ],
    });
  });
});

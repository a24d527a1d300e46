import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { longestMs } from "../../../src/core/clock.ts";
import { CapstanError } from "../../../src/core/error.ts";
import { speak } from "../../../src/host/providers/wire.ts";
import { openSseServer } from "../sse-server.ts";
import { spokenWires } from "./all.ts";
import { ask, askOverPieces, endOf, openTeller, request } from "./tell.ts";

const story = {
  said: [
    { type: "text" as const, pieces: ["é"] },
    { type: "call" as const, id: "a", name: "echo", pieces: ['{"te', 'xt":"1"}'] },
  ],
  usage: { inputUncached: 7, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 5, reasoning: 0 },
};

const statuses: readonly (readonly [status: number, code: string])[] = [
  [400, "provider.bad_request"],
  [401, "provider.sign_in"],
  [403, "provider.sign_in"],
  [402, "provider.sign_in"],
  [404, "provider.bad_request"],
  [408, "provider.unavailable"],
  [409, "provider.unavailable"],
  [422, "provider.bad_request"],
  [429, "provider.rate_limited"],
  [500, "provider.unavailable"],
  [503, "provider.unavailable"],
  [529, "provider.unavailable"],
];

describe.each(spokenWires)("a bad endpoint over $dialect.type", (wire) => {
  const head = { "content-type": wire.dialect.contentType };
  const whole = wire.encode(story);
  const bytes = Buffer.from(whole);
  const slow = wire.encode({ said: [{ type: "text", pieces: ["and then"] }] });
  const begun = slow.slice(0, slow.indexOf(wire.endsAt));

  test("is told by its status and in its words, and asked once", async () => {
    for (const [status, code] of statuses) {
      const body = JSON.stringify({ type: "error", error: { type: "x", message: "as they say it" } });
      await using server = await openSseServer((response) => {
        response.writeHead(status, { "content-type": "application/json" }).end(body);
      });
      const message = expect.stringContaining(`answered ${status}: as they say it.`);
      await expect(ask(wire, server.baseUrl)).rejects.toMatchObject({ code, message });
      expect(server.requests.length).toBe(1);
    }
  });

  test("wants to be paid, which no waiting helps", async () => {
    const pages = [
      [429, { code: "insufficient_quota", message: "You exceeded your current quota." }],
      [400, { type: "invalid_request_error", message: "Your credit balance is too low to access the API." }],
    ] as const;
    for (const [status, error] of pages) {
      await using server = await openSseServer((response) => {
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify({ error }));
      });
      const message = expect.stringMatching(/No credit is left there/);
      await expect(ask(wire, server.baseUrl)).rejects.toMatchObject({ code: "provider.sign_in", message });
    }
    // Gemini says the same of its limits per minute.
    await using paced = await openSseServer((response) => {
      response
        .writeHead(429)
        .end('{"error":{"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED"}}');
    });
    await expect(ask(wire, paced.baseUrl)).rejects.toMatchObject({ code: "provider.rate_limited" });
  });

  test("says how long to wait, or nothing", async () => {
    const waits = [
      [429, { "retry-after": "7" }, 7_000],
      [429, { "retry-after-ms": "250", "retry-after": "7" }, 250],
      [429, { "retry-after": "-3" }, 0],
      [429, { "retry-after": "soon" }, 0],
      [429, { "retry-after": "99999999999999999999" }, longestMs],
      [429, {}, 0],
      [529, { "retry-after": "2" }, 2_000],
    ] as const;
    for (const [status, headers, retryAfterMs] of waits) {
      await using server = await openSseServer((response) => response.writeHead(status, headers).end());
      await expect(ask(wire, server.baseUrl)).rejects.toMatchObject({ details: { retryAfterMs } });
    }
  });

  test("is quoted in one short line, without the key", async () => {
    const other = `sk-proj-${"a1B2".repeat(8)}`;
    const message = `no\u001B[2J model for key-1234 ${other} ${"x".repeat(5_000)}`;
    await using server = await openSseServer((response) => {
      response.writeHead(400, { "content-type": "application/json" }).end(JSON.stringify({ error: { message } }));
    });
    const thrown = await ask(wire, server.baseUrl, request, { apiKey: "key-1234" }).catch((error: unknown) => error);
    const told = thrown instanceof CapstanError ? thrown.message : "";
    expect(told).toMatch(/answered 400: no \[2J model for \[key\] \[redacted key\] x+/);
    expect(told.length).toBeLessThan(600);
  });

  test("leads nowhere else: a redirect is not followed", async () => {
    await using other = await openTeller(wire, whole);
    await using server = await openSseServer((response) => {
      response.writeHead(307, { location: `${other.baseUrl}${wire.path}` }).end();
    });
    const asked = ask(wire, server.baseUrl, request, { apiKey: "key-1234" });
    await expect(asked).rejects.toMatchObject({ code: "provider.bad_request" });
    expect(other.requests).toEqual([]);
    expect((await ask(wire, other.baseUrl)).at(-1)).toMatchObject({ type: "message.ended" });
  });

  test("is told when it is silent: at the start, in the middle, within an error page; slow is not silent", async () => {
    await using mute = await openSseServer(() => {});
    await using stuck = await openSseServer((response) => void response.writeHead(200, head).write(begun));
    for (const { baseUrl } of [mute, stuck]) {
      const asked = ask(wire, baseUrl, request, { silenceMs: 150 });
      await expect(asked).rejects.toMatchObject({ code: "provider.timeout" });
    }
    await using page = await openSseServer((response) => void response.writeHead(503).write("{"));
    await expect(ask(wire, page.baseUrl)).rejects.toMatchObject({ code: "provider.unavailable" });
    await using steady = await openSseServer(async (response) => {
      response.writeHead(200, head);
      for (const line of whole.split(/(?<=\n)/)) {
        response.write(line);
        await wait(30);
      }
      response.end();
    });
    expect((await ask(wire, steady.baseUrl, request, { silenceMs: 1_000 })).at(-1)).toMatchObject({ stop: "tool" });
  });

  test("is not silent while nobody reads", async () => {
    await using server = await openSseServer(async (response) => {
      response.writeHead(200, head).write(begun);
      await wait(50);
      response.end(slow.slice(begun.length));
    });
    const provider = speak(wire.dialect, { name: "test", baseUrl: server.baseUrl, silenceMs: 1_000 });
    const types: string[] = [];
    for await (const { type } of provider.stream(request, new AbortController().signal)) {
      types.push(type);
      if (type === "text.delta") await wait(1_500);
    }
    expect(types.at(-1)).toBe("message.ended");
  });

  test("is told when nobody listens, when it resets, and when it closes half-way", async () => {
    const gone = await openTeller(wire, whole);
    await gone[Symbol.asyncDispose]();
    await using resets = await openSseServer((response) => response.socket?.resetAndDestroy());
    await using breaks = await openSseServer((response) => {
      response.writeHead(200, head).write(begun, () => response.socket?.resetAndDestroy());
    });
    await using closes = await openTeller(wire, begun);
    await using empty = await openTeller(wire, "");
    for (const { baseUrl } of [gone, resets, breaks, closes, empty]) {
      await expect(ask(wire, baseUrl)).rejects.toMatchObject({ code: "provider.unavailable" });
    }
  });

  test("is left at once when the caller aborts, and with the caller's reason", async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await openSseServer((response) => {
      response.on("close", () => closed.resolve());
      response.writeHead(200, head).write(begun);
    });
    const controller = new AbortController();
    const reason = new CapstanError("core.interrupted", "Stop.");
    const provider = speak(wire.dialect, { name: "test", baseUrl: server.baseUrl, silenceMs: 110_000 });
    const reading = (async () => {
      for await (const event of provider.stream(request, controller.signal)) {
        if (event.type === "text.delta") controller.abort(reason);
      }
    })();
    await expect(reading).rejects.toBe(reason);
    await closed.promise;
  });

  test("is left at once when nobody reads on", async () => {
    const closed = Promise.withResolvers<void>();
    await using server = await openSseServer((response) => {
      response.on("close", () => closed.resolve());
      response.writeHead(200, head).write(begun);
    });
    const provider = speak(wire.dialect, { name: "test", baseUrl: server.baseUrl, silenceMs: 110_000 });
    for await (const event of provider.stream(request, new AbortController().signal)) {
      if (event.type === "text.delta") break;
    }
    await expect(closed.promise).resolves.toBeUndefined();
  });

  test("is told when it sends what is none of the wire", async () => {
    const wrong: readonly (readonly [string, string, string])[] = [
      ["a page", "text/html", "<html>"],
      ["another form of answer", "application/json", "{}"],
      ["what is no JSON", wire.dialect.contentType, whole.replaceAll('":', '"')],
      ...wire.garbled.map(([what, sent]) => [what, wire.dialect.contentType, sent] as const),
    ];
    for (const [what, type, body] of wrong) {
      await using server = await openSseServer((response) => {
        response.writeHead(200, { "content-type": type }).end(body);
      });
      const thrown = await ask(wire, server.baseUrl).catch((error: unknown) => error);
      expect([what, thrown]).toEqual([what, expect.objectContaining({ code: "provider.bad_answer" })]);
    }
  });

  test("is told when it says itself that it failed", async () => {
    for (const [sent, code] of wire.errors) {
      await using server = await openTeller(wire, sent);
      await expect(ask(wire, server.baseUrl)).rejects.toMatchObject({ code });
    }
  });

  test("says the same wherever its bytes are split", async () => {
    const unsplit = await askOverPieces(wire, [bytes]);
    expect(endOf(unsplit).stop).toBe("tool");
    for (let at = 1; at < bytes.length; at += 1) {
      expect(await askOverPieces(wire, [bytes.subarray(0, at), bytes.subarray(at)])).toEqual(unsplit);
    }
    expect(
      await askOverPieces(
        wire,
        Array.from(bytes, (byte) => Buffer.from([byte])),
      ),
    ).toEqual(unsplit);
    const crlf = Buffer.from(whole.replaceAll("\n", "\r\n"));
    expect(await askOverPieces(wire, [crlf])).toEqual(unsplit);
  });

  test("gives the whole answer or none, wherever its bytes end", async () => {
    const { parts } = endOf(await askOverPieces(wire, [bytes]));
    const finish = bytes.indexOf(wire.endsAt);
    expect(finish).toBeGreaterThan(0);
    const told: { readonly at: number; readonly came: unknown }[] = [];
    for (let at = 0; at <= bytes.length; at += 1) {
      const came = await askOverPieces(wire, [bytes.subarray(0, at)], at % 2 === 0 && at < bytes.length).then(
        (events) => endOf(events).parts,
        (thrown: unknown) => (thrown instanceof CapstanError ? thrown.code : thrown),
      );
      told.push({ at, came });
    }
    const complete = told.filter(({ came }) => Array.isArray(came));
    const codes = told.flatMap(({ came }) => (Array.isArray(came) ? [] : [came]));
    expect(new Set(codes)).toEqual(new Set(["provider.unavailable"]));
    expect(complete.length).toBeGreaterThan(0);
    for (const { at, came } of complete) {
      expect(came).toEqual(parts);
      expect(at).toBeGreaterThan(finish);
    }
  });

  test("fills no memory with a line of 100 MB", async () => {
    let given = 0;
    const [start = ""] = whole.split("\n");
    function* line() {
      yield Buffer.from(start.slice(0, -4));
      const piece = Buffer.alloc(64 * 1024, "a");
      for (; given < 100 * 1024 * 1024; given += piece.length) yield piece;
    }
    await expect(askOverPieces(wire, line())).rejects.toMatchObject({ code: "provider.bad_answer" });
    // No more was taken than an answer may have, and a piece.
    expect(given).toBeLessThan(33 * 1024 * 1024);
  });
});

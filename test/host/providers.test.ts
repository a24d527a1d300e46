import { describe, expect, test } from "vitest";
import type { Block } from "../../src/core/event.ts";
import type { ContextMessage } from "../../src/core/run.ts";
import { HostConfig, WireType } from "../../src/host/config.ts";
import { estimateUsage, toCostMicroUsd } from "../../src/host/price.ts";
import { openProvider } from "../../src/host/providers/all.ts";
import { spokenWires } from "./providers/all.ts";
import { responses } from "./providers/responses-story.ts";
import { openTeller } from "./providers/tell.ts";
import { free } from "./scripted.ts";
import { delta, openSseServer, sseHead, toSse } from "./sse-server.ts";

const config = HostConfig.parse({
  providers: {
    local: { baseUrl: "http://127.0.0.1:1/v1" },
    paid: { baseUrl: "http://127.0.0.1:1/v1", apiKeyEnv: "PAID_KEY" },
  },
});

describe("openProvider()", () => {
  test("opens the planner, an endpoint of the config, and any base URL", () => {
    expect(openProvider("planner", { config, env: {} })).toMatchObject({ name: "planner", metered: false });
    expect(openProvider("local:llama3:8b", { config, env: {} })).toMatchObject({ name: "local", metered: true });
    const baseUrl = "http://127.0.0.1:2/v1";
    expect(openProvider("openai-compatible:x", { config, env: {}, baseUrl })).toMatchObject({
      name: "openai-compatible",
    });
  });

  test.each(["gpt", "gpt:x", "local", "local:", "__proto__:x", "constructor:x", ""])(
    "knows no %j and says what there is",
    (model) => {
      const open = (): unknown => openProvider(model, { config, env: {} });
      expect(open).toThrow(expect.objectContaining({ code: "provider.unknown" }));
      expect(open).toThrow(/planner.*openai-compatible:MODEL with --base-url.*local:MODEL/s);
    },
  );

  test("asks for a base URL where none is known", () => {
    const open = (): unknown => openProvider("openai-compatible:x", { config, env: {} });
    expect(open).toThrow(/--base-url/);
    expect(open).toThrow(expect.objectContaining({ code: "provider.unknown" }));
  });

  test.each(["http://me:secret@127.0.0.1/v1", "http://127.0.0.1/v1?key=secret"])(
    "does not take %s, nor repeat it",
    (baseUrl) => {
      const open = (): unknown => openProvider("openai-compatible:x", { config, env: {}, baseUrl });
      expect(open).toThrow(
        expect.objectContaining({ code: "usage.bad_option", message: expect.not.stringContaining("secret") }),
      );
    },
  );

  test("names the variable that holds no key", () => {
    const open = (env: Record<string, string>): unknown => openProvider("paid:x", { config, env });
    expect(() => open({})).toThrow(expect.objectContaining({ code: "provider.sign_in" }));
    expect(() => open({ PAID_KEY: "" })).toThrow(/PAID_KEY/);
    expect(() => open({ PAID_KEY: " \n" })).toThrow(/PAID_KEY/);
    for (const PAID_KEY of ["a secret", "se\ncret", "secret…"]) {
      expect(() => open({ PAID_KEY })).toThrow(
        expect.objectContaining({ code: "provider.sign_in", message: expect.not.stringContaining("cret") }),
      );
    }
    expect(open({ PAID_KEY: "secret" })).toMatchObject({ name: "paid" });
  });

  test("tells nobody a key, also where spaces stand around it", async () => {
    await using server = await openSseServer((response, { headers }) => {
      response.writeHead(400).end(`not ${headers.authorization}`);
    });
    const keyed = HostConfig.parse({ providers: { paid: { baseUrl: server.baseUrl, apiKeyEnv: "PAID_KEY" } } });
    const provider = openProvider("paid:x", { config: keyed, env: { PAID_KEY: " hidden\r\n" } });
    const asked = { model: "x", messages: [], tools: [], settings: {} };
    await expect(Array.fromAsync(provider.stream(asked, AbortSignal.timeout(110_000)))).rejects.toThrow(
      /not Bearer \[key\]\./,
    );
  });

  test("sends a key to the URL that stands beside it, and to no other", async () => {
    const chunks = toSse([delta({ content: "ok" }), delta({}, "stop")]);
    await using own = await openSseServer((response) => response.writeHead(200, sseHead).end(chunks));
    await using other = await openSseServer((response) => response.writeHead(200, sseHead).end(chunks));
    const keyed = HostConfig.parse({ providers: { paid: { baseUrl: own.baseUrl, apiKeyEnv: "PAID_KEY" } } });
    const env = { PAID_KEY: "secret" };
    const request = {
      model: "x",
      messages: [{ role: "user" as const, content: [{ type: "text" as const, text: "hi" }] }],
      tools: [],
      settings: {},
    };
    for (const baseUrl of [undefined, other.baseUrl]) {
      const provider = openProvider("paid:x", { config: keyed, env, baseUrl });
      await Array.fromAsync(provider.stream(request, AbortSignal.timeout(110_000)));
    }
    expect(own.requests[0]?.headers.authorization).toBe("Bearer secret");
    expect(other.requests[0]?.headers.authorization).toBeUndefined();
  });
});

test("every type of endpoint is held to the suite of all wires", () => {
  expect(spokenWires.map(({ dialect }) => dialect.type).sort()).toEqual([...WireType.options].sort());
});

describe("the key of a type", () => {
  const key = { OPENAI_API_KEY: "secret" };
  const toProvider = (providers: unknown, name: string, env: Record<string, string>, baseUrl?: string) =>
    openProvider(`${name}:x`, { config: HostConfig.parse({ providers }), env, baseUrl });

  test("is demanded at the type's own URL, and found in the variable of the type or of the config", () => {
    expect(() => toProvider({}, "openai", {})).toThrow(/OPENAI_API_KEY/);
    expect(toProvider({}, "openai", key).identity).not.toBe(toProvider({}, "openai", { OPENAI_API_KEY: "b" }).identity);
    const work = { work: { type: "openai", apiKeyEnv: "WORK_KEY" } };
    expect(() => toProvider(work, "work", key)).toThrow(/WORK_KEY/);
    expect(toProvider(work, "work", { WORK_KEY: "secret" }).name).toBe("work");
    expect(toProvider({ own: { type: "openai" } }, "own", key).name).toBe("own");
  });

  test("goes to no other URL", async () => {
    await using server = await openTeller(responses, responses.encode({ said: [{ type: "text", pieces: ["ok"] }] }));
    const { baseUrl } = server;
    const elsewhere = [
      toProvider({}, "openai", key, baseUrl),
      toProvider({ openai: { baseUrl } }, "openai", key),
      toProvider({ openai: { apiKeyEnv: "OPENAI_API_KEY" } }, "openai", key, baseUrl),
    ];
    const asked = { model: "x", messages: [], tools: [], settings: {} };
    for (const provider of elsewhere) await Array.fromAsync(provider.stream(asked, AbortSignal.timeout(110_000)));
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined, undefined]);
    const named = toProvider({ openai: { baseUrl, apiKeyEnv: "OPENAI_API_KEY" } }, "openai", key);
    await Array.fromAsync(named.stream(asked, AbortSignal.timeout(110_000)));
    expect(server.requests.at(-1)?.headers.authorization).toBe("Bearer secret");
  });
});

describe("the config of the host", () => {
  test("takes no URL that is not http, and none with a password or a query in it", () => {
    for (const baseUrl of [
      "https://x.test/v1?key=a",
      "ftp://x.test/v1",
      "http://me:secret@x.test/v1",
      "x.test/v1",
      "file:///etc/passwd",
    ]) {
      expect(HostConfig.safeParse({ providers: { mine: { baseUrl } } }).success).toBe(false);
    }
    expect(HostConfig.safeParse({ providers: { mine: { baseUrl: "https://x.test/v1" } } }).success).toBe(true);
  });

  test("refuses a wrong key", () => {
    expect(HostConfig.safeParse({ limits: { turn: 3 } }).success).toBe(false);
    expect(HostConfig.parse({})).toMatchObject({ model: "planner", limits: { turns: 20, parallel: 4 }, providers: {} });
  });
});

test("estimateUsage() counts text by its bytes, and an image by what models make of it", () => {
  const asked = (...content: readonly Block[]) =>
    estimateUsage({ model: "m", messages: [{ role: "user", content }], tools: [], settings: {} }).inputUncached;
  const large = "x".repeat(4_000_000);
  expect(asked({ type: "text", text: large })).toBeGreaterThan(1_000_000);
  const image = asked({ type: "image", mimeType: "image/png", data: large });
  expect(image).toBeGreaterThan(1_000);
  expect(image).toBeLessThan(3_000);
  const said = { role: "assistant" as const, parts: [{ type: "text" as const, text: "ok" }] };
  const estimate = (message: ContextMessage) =>
    estimateUsage({ model: "m", messages: [message], tools: [], settings: {} }).inputUncached;
  expect(estimate({ ...said, raw: { wire: "w", model: "m", blocks: [large] } })).toBe(estimate(said));
});

describe("toCostMicroUsd()", () => {
  test("is tokens times price, in whole micro-dollars rounded up, and reasoning costs as output", () => {
    const usage = { ...free, inputUncached: 10, cacheRead: 100, cacheWrite5m: 4, output: 3, reasoning: 2 };
    const price = { input: 1.25, output: 10, cacheRead: 0.125, cacheWrite5m: 2 };
    expect(toCostMicroUsd(usage, price)).toBe(Math.ceil(12.5 + 12.5 + 8 + 50));
    expect(toCostMicroUsd({ ...free, inputUncached: 1 }, price)).toBe(2);
    expect(toCostMicroUsd(usage, undefined)).toBe(0);
  });
});

import { describe, expect, test } from "vitest";
import { HostConfig } from "../../src/host/config.ts";
import { toCostMicroUsd } from "../../src/host/price.ts";
import { openProvider } from "../../src/host/providers/all.ts";
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

  test.each(["gpt", "openai:gpt", "local", "local:", "__proto__:x", "constructor:x", ""])(
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

  test("takes no base URL with a password in it, and does not repeat it", () => {
    const baseUrl = "http://me:secret@127.0.0.1/v1";
    const open = (): unknown => openProvider("openai-compatible:x", { config, env: {}, baseUrl });
    expect(open).toThrow(
      expect.objectContaining({ code: "usage.bad_option", message: expect.not.stringContaining("secret") }),
    );
  });

  test("names the variable that holds no key", () => {
    const open = (env: Record<string, string>): unknown => openProvider("paid:x", { config, env });
    expect(() => open({})).toThrow(expect.objectContaining({ code: "provider.sign_in" }));
    expect(() => open({ PAID_KEY: "" })).toThrow(/PAID_KEY/);
    expect(open({ PAID_KEY: "secret" })).toMatchObject({ name: "paid" });
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
    };
    for (const baseUrl of [undefined, other.baseUrl]) {
      const provider = openProvider("paid:x", { config: keyed, env, baseUrl });
      await Array.fromAsync(provider.stream(request, AbortSignal.timeout(110_000)));
    }
    expect(own.requests[0]?.headers.authorization).toBe("Bearer secret");
    expect(other.requests[0]?.headers.authorization).toBeUndefined();
  });
});

describe("the config of the host", () => {
  test("takes no URL that is not http, and none with a password in it", () => {
    for (const baseUrl of ["ftp://x.test/v1", "http://me:secret@x.test/v1", "x.test/v1", "file:///etc/passwd"]) {
      expect(HostConfig.safeParse({ providers: { mine: { baseUrl } } }).success).toBe(false);
    }
    expect(HostConfig.safeParse({ providers: { mine: { baseUrl: "https://x.test/v1" } } }).success).toBe(true);
  });

  test("refuses a wrong key", () => {
    expect(HostConfig.safeParse({ limits: { turn: 3 } }).success).toBe(false);
    expect(HostConfig.parse({})).toMatchObject({ model: "planner", limits: { turns: 20, parallel: 4 }, providers: {} });
  });
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

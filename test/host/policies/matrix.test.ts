import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import { openProvider } from "../../../src/host/providers/all.ts";
import { delta, openSseServer, sseHead, toSse } from "../sse-server.ts";
import { ask } from "./faulty.ts";

type Answer = (response: ServerResponse) => unknown;

const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(code, { "content-type": "application/json", ...headers }).end('{"error":{"message":"no"}}');
const stream =
  (bytes: Buffer | string): Answer =>
  (response) =>
    response.writeHead(200, sseHead).end(bytes);
const words = delta({ content: "words " });

/** What a model server may do, what comes of it with one retry of each kind, and how often it is asked. */
const table: readonly (readonly [name: string, answer: Answer, code: string, requests: number])[] = [
  ["answers 401", status(401), "provider.sign_in", 1],
  ["answers 403", status(403), "provider.sign_in", 1],
  ["answers 404", status(404), "provider.bad_request", 1],
  ["answers 429", status(429), "provider.rate_limited", 2],
  ["answers 429 and asks for 5 ms", status(429, { "retry-after-ms": "5" }), "provider.rate_limited", 2],
  ["answers 429 and asks for an hour", status(429, { "retry-after": "3600" }), "provider.rate_limited", 1],
  ["answers 500", status(500), "provider.unavailable", 2],
  ["answers 529", status(529), "provider.unavailable", 2],
  ["hangs before its answer", () => {}, "provider.timeout", 2],
  [
    "hangs within its answer",
    (response) => response.writeHead(200, sseHead).write(toSse([words], false)),
    "provider.timeout",
    2,
  ],
  ["resets the connection", (response) => response.socket?.resetAndDestroy(), "provider.unavailable", 2],
  ["ends in the middle", stream(toSse([words])), "provider.unavailable", 2],
  [
    "closes in the middle",
    (response) => response.writeHead(200, sseHead).write(toSse([words], false), () => response.destroy()),
    "provider.unavailable",
    2,
  ],
  ["sends what is no JSON", stream("data: {nope\n\n"), "provider.bad_answer", 1],
  ["sends what is no chunk", stream('data: {"choices":"none"}\n\n'), "provider.bad_answer", 1],
  [
    "sends a page",
    (response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>"),
    "provider.bad_answer",
    1,
  ],
];

/** A route over a server that does as it is told, and one that answers. */
async function openTwo(
  answer: Answer,
  { silenceMs = 60_000, ...retries }: { silenceMs?: number; callMs?: number } = {},
) {
  await using opened = new AsyncDisposableStack();
  const bad = opened.use(await openSseServer(answer));
  const good = opened.use(await openSseServer(stream(toSse([delta({ content: "fine" }), delta({}, "stop")]))));
  const config = HostConfig.parse({
    providers: { bad: { baseUrl: bad.baseUrl, silenceMs }, good: { baseUrl: good.baseUrl } },
    routes: { either: { models: ["bad:m", "good:m"] } },
    retries: { model: { retries: 1, firstMs: 1 }, rateLimited: { retries: 1, queueMs: 0 }, ...retries },
  });
  const policies = openPolicies({ config, open: (model) => openProvider(model, { config, env: {} }) });
  const owned = opened.move();
  return { bad, good, ...policies, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describe("a server that", () => {
  test.each(table)(
    "%s ends a call by its kind of failure, and another model stands in",
    async (_, answer, code, requests) => {
      await using at = await openTwo(answer, code === "provider.timeout" ? { silenceMs: 300 } : {});
      const alone = await ask(at.openProvider("bad:m"));
      expect([alone.error?.code, at.bad.requests.length]).toEqual([code, requests]);
      expect(alone.notices.map((notice) => (notice.type === "retry" ? notice.code : notice.type))).toEqual(
        Array.from({ length: requests - 1 }, () => code),
      );
      const { events, notices, error } = await ask(at.openProvider("either"));
      expect(error).toBeNull();
      expect(notices.at(-1)).toMatchObject({ type: "failover", model: "bad:m", next: "good:m", code });
      expect(events.at(-1)).toMatchObject({
        type: "message.ended",
        model: "good:m",
        parts: [{ type: "text", text: "fine" }],
      });
      expect([at.bad.requests.length, at.good.requests.length]).toEqual([2 * requests, 1]);
    },
  );

  test("declines is not asked again, and no other model is", async () => {
    await using at = await openTwo(stream(toSse([delta({ refusal: "I won't." }), delta({}, "stop")])));
    const { events, error } = await ask(at.openProvider("either"));
    expect(error).toBeNull();
    expect(events.at(-1)).toMatchObject({ type: "message.ended", stop: "refusal", model: "bad:m" });
    expect([at.bad.requests.length, at.good.requests.length]).toEqual([1, 0]);
  });

  test("never comes to an end is left when the time of the call is over", async () => {
    const drip: Answer = (response) => {
      response.writeHead(200, sseHead);
      const timer = setInterval(() => response.write(toSse([words], false)), 20);
      response.on("close", () => clearInterval(timer));
    };
    await using at = await openTwo(drip, { callMs: 1_000 });
    // The wire is loaded with its first call.
    await ask(at.openProvider("good:m"));
    const { error, events } = await ask(at.openProvider("bad:m"));
    expect(error).toMatchObject({ code: "provider.timeout", message: expect.stringContaining("1000 ms") });
    expect(events.length).toBeGreaterThan(1);
    expect(at.health()).toMatchObject([
      { name: "bad", failures: 1 },
      { name: "good", failures: 0 },
    ]);
  });
});

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { addUsage, noUsage } from "../../../src/core/usage.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openPolicies } from "../../../src/host/policies/all.ts";
import { speak } from "../../../src/host/providers/wire.ts";
import { testTool } from "../../support/door.ts";
import { openTestHost } from "../scripted.ts";
import { delta, openSseServer, sseHead, toSse } from "../sse-server.ts";
import { spokenWires } from "./all.ts";
import { chat } from "./chat-story.ts";
import { responses } from "./responses-story.ts";
import type { Said, SpokenWire, Story } from "./story.ts";

/** Reserved for each attempt, and more than anything else here: how many of them a charge holds tells how many attempts are estimated. */
const longest = 1_000_000;
const usage = { inputUncached: 70, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, output: 50, reasoning: 0 };
const end: Story = { said: [{ type: "text", pieces: ["The end."] }], usage };

type Answer = (response: ServerResponse, turn: number) => unknown;

/** A run of a model at a server that answers so, with one retry of each kind: how it ended, and what its grant was charged. */
async function spend(wire: SpokenWire, answer: Answer, { callMs = 60_000, silenceMs = 60_000, isGone = false } = {}) {
  let turn = 0;
  await using server = await openSseServer((response) => answer(response, (turn += 1)));
  const config = HostConfig.parse({
    settings: { maxOutputTokens: longest },
    retries: { model: { retries: 1, firstMs: 1 }, rateLimited: { retries: 1, queueMs: 0 }, callMs },
  });
  const gone = await openSseServer(() => {});
  await gone[Symbol.asyncDispose]();
  const { baseUrl } = isGone ? gone : server;
  const provider = speak(wire.dialect, { name: "bad", baseUrl, silenceMs });
  const made: string[] = [];
  const echo = testTool("echo", {
    run: async ({ text }, { callId }) => ({ type: "done", value: `${made.push(callId)} ${text}` }),
  });
  await using at = await openTestHost({ tools: [echo], provider, config });
  const host = at.open(openPolicies({ config, open: () => provider }));
  const signal = new AbortController().signal;
  const outcome = await host.start({ task: "Go.", model: "scripted", grant: at.grant, signal });
  const tokens = (await at.store.used([at.grant.id])).get(at.grant.id)?.tokens ?? 0;
  const known = Object.values(outcome.usage).reduce((sum, part) => sum + part, 0);
  return { outcome, tokens, known, made, requests: server.requests.length, faults: at.faults };
}

const status =
  (code: number, headers: Record<string, string> = {}): Answer =>
  (response) =>
    response.writeHead(code, { "content-type": "application/json", ...headers }).end('{"error":{"message":"no"}}');

/** Sends what never ends, in pieces, until nobody listens; gives how many bytes that took. */
async function flood(response: ServerResponse, begin: string): Promise<number> {
  const piece = Buffer.alloc(1024 * 1024, "a");
  response.write(begin);
  let sent = 0;
  for (; sent < 100 * piece.length && !response.destroyed; sent += piece.length) {
    if (!response.write(piece)) await Promise.race([once(response, "drain"), once(response, "close")]);
  }
  response.end();
  return sent;
}

describe.each(spokenWires)("what is charged for a bad endpoint over $dialect.type", (wire) => {
  const head = { "content-type": wire.dialect.contentType };
  const tell =
    (bytes: string): Answer =>
    (response) =>
      response.writeHead(200, head).end(bytes);
  const whole = wire.encode(end);
  const begun = whole.slice(0, whole.indexOf(wire.endsAt));

  const failures: readonly (readonly [what: string, answer: Answer, code: string, requests: number, billed: number])[] =
    [
      ["answers 401", status(401), "provider.sign_in", 1, 0],
      ["answers 403", status(403), "provider.sign_in", 1, 0],
      ["answers 404", status(404), "provider.bad_request", 1, 0],
      ["answers 429", status(429), "provider.rate_limited", 2, 0],
      ["answers 429 and asks for 5 ms", status(429, { "retry-after-ms": "5" }), "provider.rate_limited", 2, 0],
      ["answers 429 and asks for an hour", status(429, { "retry-after": "3600" }), "provider.rate_limited", 1, 0],
      ["answers 500", status(500), "provider.unavailable", 2, 2],
      ["answers 529", status(529), "provider.unavailable", 2, 2],
      ["resets the connection", (response) => response.socket?.resetAndDestroy(), "provider.unavailable", 2, 2],
      ["ends in the middle", tell(begun), "provider.unavailable", 2, 2],
      [
        "closes in the middle",
        (response) => response.writeHead(200, head).write(begun, () => response.socket?.resetAndDestroy()),
        "provider.unavailable",
        2,
        2,
      ],
      ...wire.garbled.map(([what, bytes]) => [`sends ${what}`, tell(bytes), "provider.bad_answer", 1, 1] as const),
    ];

  test.each(failures)("that %s: nothing where nothing is billed, and each attempt once", async (...row) => {
    const [, answer, code, requests, billed] = row;
    const spent = await spend(wire, answer);
    expect(spent.outcome).toMatchObject({ status: "failed", code, costMicroUsd: 0 });
    expect([spent.requests, Math.floor(spent.tokens / longest)]).toEqual([requests, billed]);
    expect(spent.tokens - billed * longest).toBeLessThan(billed * 1_000 + 1);
    expect(spent.faults).toEqual([]);
  });

  test("that nobody listens at: nothing, as nothing was sent", async () => {
    const spent = await spend(wire, tell(whole), { isGone: true });
    expect(spent.outcome).toMatchObject({ status: "failed", code: "provider.unavailable", usage: noUsage });
    expect([spent.requests, spent.tokens]).toEqual([0, 0]);
  });

  test.each<[string, Answer]>([
    ["before its answer", () => {}],
    ["within its answer", (response) => response.writeHead(200, head).write(begun)],
  ])("that hangs %s: each attempt once", async (_, answer) => {
    const spent = await spend(wire, answer, { silenceMs: 300 });
    expect(spent.outcome).toMatchObject({ status: "failed", code: "provider.timeout" });
    expect([spent.requests, Math.floor(spent.tokens / longest)]).toEqual([2, 2]);
  });

  test("that drips for ever: the one attempt, which ends with the time of the call", async () => {
    const drip: Answer = (response) => {
      const isEvents = wire.dialect.contentType === "text/event-stream";
      const messageEnd = isEvents ? "\n\n" : "\n";
      const lines = begun.slice(0, begun.lastIndexOf(messageEnd) + messageEnd.length);
      response.writeHead(200, head).write(lines);
      const timer = setInterval(() => response.write(isEvents ? ": still there\n\n" : lines), 20);
      response.on("close", () => clearInterval(timer));
    };
    const spent = await spend(wire, drip, { callMs: 1_000 });
    expect(spent.outcome).toMatchObject({ status: "failed", code: "provider.timeout" });
    expect([spent.requests, Math.floor(spent.tokens / longest)]).toEqual([1, 1]);
  });

  test("that sends 100 MB on a line: the one attempt, of which no more is taken than an answer may have", async () => {
    const [start = ""] = whole.split("\n");
    let flooded: Promise<number> = Promise.resolve(0);
    const spent = await spend(wire, (response) => {
      response.on("error", () => {});
      response.writeHead(200, head);
      flooded = flood(response, start.slice(0, -4));
    });
    expect(spent.outcome).toMatchObject({ status: "failed", code: "provider.bad_answer" });
    expect([spent.requests, Math.floor(spent.tokens / longest)]).toEqual([1, 1]);
    // With what both sockets hold.
    expect(await flooded).toBeLessThan(60 * 1024 * 1024);
  });

  const call = (id: string, ...pieces: readonly string[]): Said => ({ type: "call", id, name: "echo", pieces });
  test.each<[string, readonly Said[], number]>([
    ["calls that all have one id", [call("a", '{"text":"1"}'), call("a", '{"text":"2"}'), call("a", "{}")], 3],
    ["calls without an id", [call("", '{"text":"1"}'), call("", '{"text":"2"}')], 2],
    ["a call whose arguments are no JSON", [call("a", '{"te', "xt"), call("b", '{"text":"2"}')], 1],
  ])("that sends %s: what it used, once", async (_, said, calls) => {
    // A dialect whose arguments are no text can't say what is no JSON.
    if (calls === 1 && !wire.can.pieces) return;
    const spent = await spend(wire, (response, turn) =>
      tell(turn === 1 ? wire.encode({ said, usage }) : whole)(response, turn),
    );
    expect(spent.outcome).toMatchObject({ status: "done", answer: "The end.", turns: 2, toolCalls: said.length });
    expect([spent.made.length, new Set(spent.made).size]).toEqual([calls, calls]);
    expect(spent.outcome.usage).toEqual(addUsage(wire.counts(usage), wire.counts(usage)));
    expect([spent.requests, spent.tokens]).toEqual([2, spent.known]);
  });

  test("that declines or says nothing: what it used, once", async () => {
    const declined = wire.reasons.find(([, stop]) => stop === "refusal" || stop === "filtered");
    const refused = wire.refusal?.("I won't.");
    const reason = declined === undefined ? {} : { reason: declined[0] };
    const stories: readonly (readonly [string, string])[] = [
      ...(declined === undefined ? [] : [["provider.declined", wire.encode({ ...end, ...reason })] as const]),
      ...(refused === undefined ? [] : [["provider.declined", refused] as const]),
      ["provider.bad_answer", wire.encode({ said: [{ type: "text", pieces: [" "] }], usage })],
    ];
    for (const [code, bytes] of stories) {
      const spent = await spend(wire, tell(bytes));
      expect(spent.outcome).toMatchObject({ status: "failed", code });
      expect(spent.outcome.usage).not.toEqual(noUsage);
      expect([spent.requests, spent.tokens]).toEqual([1, spent.known]);
    }
  });
});

describe("an endpoint that fails and says what it used", () => {
  const broken = { status: "failed", error: { code: "server_error" }, usage: { input_tokens: 70, output_tokens: 50 } };
  const counted = { choices: [], usage: { prompt_tokens: 70, completion_tokens: 50 } };
  test.each([
    ["the Responses API", responses, toSse([{ type: "response.failed", response: broken }], false)],
    ["Chat Completions", chat, toSse([delta({ content: "well" }), delta({}, "error"), counted])],
  ] as const)("over %s is charged with that, each attempt once", async (_, wire, bytes) => {
    const spent = await spend(wire, (response) => response.writeHead(200, sseHead).end(bytes));
    expect(spent.outcome).toMatchObject({ status: "failed", code: "provider.unavailable" });
    expect(spent.outcome.usage).toEqual(addUsage(usage, usage));
    expect([spent.requests, spent.tokens]).toEqual([2, 240]);
  });
});

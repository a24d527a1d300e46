import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { newId } from "../../../src/core/id.ts";
import { localScope } from "../../../src/core/scope.ts";
import type { Outcome, Resumed } from "../../../src/tools/tool.ts";
import { handClock } from "../../support/clock.ts";
import type { Front } from "./bridge-fronts.ts";
import { type Bridged, frontKinds, official, openBridged } from "./bridge-support.ts";
import { isAlive } from "./connect-support.ts";

const servers = { old: official("old"), new: official("new") };
const behind = ["old", "new"] as const;
const Who = z.object({ pid: z.int() });

// One Capstan for all of them, on a clock that a test may move.
const clock = handClock(Date.now());
let bridged: Bridged;
beforeAll(async () => {
  bridged = await openBridged(servers, { clock });
});
afterAll(() => bridged[Symbol.asyncDispose]());

const userOf = (user: string) => ({ org: "local", user });
const pidOf = async (front: Front, server: string): Promise<number> =>
  Who.parse(JSON.parse(await front.call(`${server}__who`))).pid;
const grantOf = (user: string) => bridged.everything({ principal: userOf(user), id: newId("grant") });

/** A call at the door itself, where a test can choose its id. */
function callAs(user: string) {
  const grant = grantOf(user);
  const caller = { principal: grant.principal, scope: localScope, grant, taint: [], depth: 0 };
  const answerer = { can: { form: true, url: true, sampling: true, roots: true } };
  return async (callId: string, name: string, resumed?: Resumed): Promise<Outcome> => {
    const args = name.endsWith("__ask") ? { kinds: ["form"], rounds: 1 } : {};
    const request = { caller, name, args, callId, answerer, signal: AbortSignal.timeout(110_000) };
    return (await bridged.app.door.call({ ...request, ...(resumed === undefined ? {} : { resumed }) })).outcome;
  };
}

/** What a question is answered with. */
function answerTo(outcome: Outcome, size: number): Resumed {
  if (outcome.type !== "waiting") throw new Error(`It does not wait: ${JSON.stringify(outcome)}`);
  const answer = { action: "accept", content: { size } };
  return { state: outcome.state, responses: Object.fromEntries(outcome.requests.map(({ id }) => [id, answer])) };
}

test("each user has a process of their own at a server", async () => {
  await using alice = await bridged.front("2025, v1, HTTP", {}, grantOf("alice"));
  await using again = await bridged.front("2026, v2, HTTP", {}, grantOf("alice"));
  await using bob = await bridged.front("2025, v1, HTTP", {}, grantOf("bob"));
  for (const server of behind) {
    const own = await pidOf(alice, server);
    expect(await pidOf(again, server)).toBe(own);
    expect(await pidOf(bob, server)).not.toBe(own);
  }
});

test("answers to the questions of one user never reach another's call, whatever clients are in front", async () => {
  await using opened = new AsyncDisposableStack();
  const kinds = frontKinds.filter((kind) => kind.endsWith("HTTP"));
  const all = kinds.map(async (kind, index) => {
    // The ids of JSON-RPC are the same for each: the SDK counts them from 0.
    const front = opened.use(await bridged.front(kind, { size: index }, grantOf(`user-${index}`)));
    const told: string[] = [];
    for (let turn = 0; turn < 10; turn += 1) {
      for (const server of behind) told.push(await front.call(`${server}__ask`, { kinds: ["form"], rounds: 2 }));
    }
    const own = { form: { action: "accept", content: { size: index } } };
    expect(new Set(told)).toEqual(new Set([JSON.stringify([own, own])]));
  });
  await Promise.all(all);
});

test.each(behind)("two users' calls under the same id are two calls (%s behind)", async (server) => {
  const [alice, bob] = [callAs("alice"), callAs("bob")];
  const asked = await Promise.all([alice("call_same", `${server}__ask`), bob("call_same", `${server}__ask`)]);
  const told = await Promise.all([
    bob("call_same", `${server}__ask`, answerTo(asked[1], 2)),
    alice("call_same", `${server}__ask`, answerTo(asked[0], 1)),
  ]);
  expect(told.map((outcome) => JSON.stringify(outcome).match(/size\W+(\d)/)?.[1])).toEqual(["2", "1"]);
});

test("nobody goes on with a call that another user's question is about", async () => {
  const [alice, bob] = [callAs("alice"), callAs("bob")];
  const asked = await alice("call_alice", "old__ask");
  expect(await bob("call_alice", "old__ask", answerTo(asked, 2))).toMatchObject({
    isError: true,
    code: "mcp.call_gone",
  });
  expect(await alice("call_alice", "old__ask", answerTo(asked, 1))).not.toHaveProperty("isError");
});

test("a question that could be two calls' is answered for neither by the other", async () => {
  const thinking = Promise.withResolvers<void>();
  await using slow = await bridged.front("2025, v1, HTTP", { size: 1, thinking: thinking.promise });
  await using quick = await bridged.front("2026, v2, HTTP", { size: 2 });
  const first = slow.call("old__ask", { kinds: ["form"], rounds: 1 });
  await expect.poll(() => slow.asked.length).toBe(1);
  // An older server on one pipe does not say whose its question is: one that is not certain is declined, and nobody is asked.
  const second = await quick.call("old__ask", { kinds: ["form"], rounds: 1 });
  expect(JSON.parse(second)).toEqual([{ form: { action: "decline" } }]);
  expect(quick.asked).toEqual([]);
  thinking.resolve();
  expect(JSON.parse(await first)).toEqual([{ form: { action: "accept", content: { size: 1 } } }]);
});

test("the process of a user who is away for ten minutes ends, the operator's and a busy one's stay", async () => {
  const pid = async (user: string): Promise<number> => {
    const outcome = await callAs(user)(newId("call"), "old__who");
    const text = outcome.type === "done" && outcome.content?.[0]?.type === "text" ? outcome.content[0].text : "";
    return Who.parse(JSON.parse(text)).pid;
  };
  const [operator, alice, bob] = [await pid("operator"), await pid("alice"), await pid("bob")];
  clock.advance(6 * 60_000);
  await pid("alice");
  clock.advance(5 * 60_000);
  expect(await pid("alice")).toBe(alice);
  await expect.poll(() => isAlive(bob)).toBe(false);
  expect(await pid("operator")).toBe(operator);
  expect(await pid("bob")).not.toBe(bob);
});

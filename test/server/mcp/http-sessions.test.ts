import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { handClock } from "../../support/clock.ts";
import { openOlder, readEvents } from "./http-older.ts";
import { openHttpServer } from "./http-serve.ts";

type Server = Awaited<ReturnType<typeof openHttpServer>>;

/** A token of another user, for the same tools. */
function tokenOf(server: Server, user: string): string {
  const principal = { org: "local", user };
  return server.tokenOf({ ...server.grant, id: `of-${user}`, principal, epoch: server.permissions.epoch(principal) });
}

const echo = { id: 1, method: "tools/call", params: { name: "echo", arguments: { text: "x" } } };
const hangs = { id: "hangs", method: "tools/call", params: { name: "hangs" } };
const move = { id: "move", method: "tools/call", params: { name: "move", arguments: { from: "a" } } };
const yes = { result: { action: "accept", content: { approve: true } } };
const isQuestion = ({ method }: { readonly method?: string | undefined }) => method === "elicitation/create";

describe("a session", () => {
  test("of HTTP+SSE does not exist for another user, nor on the other leg (B24)", async () => {
    await using server = await openHttpServer();
    const older = openOlder(server.url);
    const own = server.tokenOf();
    const stream = await older.beginSse(own);
    const missing = await older.post(own, "/messages?sessionId=none", echo);
    const stolen = await older.post(tokenOf(server, "mallory"), stream.path, echo);
    const misplaced = await older.post(own, stream.path.split("=")[1] ?? "", echo);
    const unknown = await missing.text();
    expect([missing.status, stolen.status, misplaced.status]).toEqual([404, 404, 404]);
    expect([await stolen.text(), await misplaced.text()]).toEqual([unknown, unknown]);
    expect((await older.post(own, stream.path, echo)).status).toBe(202);
    expect(JSON.stringify(await stream.waitFor(({ id }) => id === 1))).toContain('"text":"x"');
    expect((await server.audit()).map(({ entry }) => entry.user)).toEqual(["operator"]);
    stream.leave();
    await expect.poll(server.counts).toMatchObject({ sessions: 0, streams: 0 });
  });

  test.each(["mcp", "sse"])(
    "at /%s takes an answer only under the grant of the call that asks, and a cancellation too",
    async (leg) => {
      await using server = await openHttpServer();
      const older = openOlder(server.url);
      const ask = server.rightsTo(["move", "hangs"]).map((right) => ({ ...right, ask: right.name === "move" }));
      const asks = server.withRights("asks", { tools: ask });
      const part = { ...asks, id: "part", ancestors: [{ id: "asks", limits: {} }] };
      const [token, ...others] = [asks, part, server.grant].map((grant) => server.tokenOf(grant));
      if (token === undefined) throw new Error("no token");
      const stream = leg === "sse" ? await older.beginSse(token) : undefined;
      const session = stream?.path ?? (await older.begin(token));
      const listenTo = async (message: object) => {
        const response = await older.post(token, session, message);
        return stream ?? readEvents(response);
      };

      const called = await listenTo(move);
      const { id } = await called.waitFor(isQuestion);
      for (const other of others) expect((await older.post(other, session, { id, ...yes })).status).toBe(400);
      expect(server.log).toEqual([]);
      expect((await older.post(token, session, { id, ...yes })).status).toBe(202);
      expect(JSON.stringify(await called.waitFor((message) => message.id === "move"))).toContain('"to":"here"');
      expect((await older.post(token, session, { id, ...yes })).status).toBe(400);

      void listenTo(hangs);
      await expect.poll(() => server.log).toContain("hangs began");
      const cancel = { method: "notifications/cancelled", params: { requestId: "hangs" } };
      for (const other of others) expect((await older.post(other, session, cancel)).status).toBe(202);
      await sleep(100);
      expect(server.log).not.toContain("hangs ended");
      await older.post(token, session, cancel);
      await expect.poll(() => server.log).toContain("hangs ended");
      stream?.leave();
    },
  );

  test("that nobody has used for half an hour is over at once, one that listens is not", async () => {
    const clock = handClock();
    await using server = await openHttpServer({ clock });
    const older = openOlder(server.url);
    const token = server.tokenOf();
    const [idle, used, listening] = [await older.begin(token), await older.begin(token), await older.begin(token)];
    const stream = await older.listen(token, "/mcp", listening);
    clock.advance(20 * 60_000);
    expect((await older.post(token, used, echo)).status).toBe(200);
    clock.advance(11 * 60_000);
    const statuses = [idle, used, listening].map(async (id) => (await older.post(token, id, echo)).status);
    expect(await Promise.all(statuses)).toEqual([404, 200, 200]);
    await expect.poll(server.counts).toMatchObject({ sessions: 2 });
    stream.leave();
  });

  test("answers one request at a time under one id, and says which revisions it speaks", async () => {
    await using server = await openHttpServer();
    const older = openOlder(server.url);
    const token = server.tokenOf();
    const session = await older.begin(token);
    const first = older.post(token, session, { ...hangs, id: 1 });
    await expect.poll(() => server.log).toContain("hangs began");
    expect((await older.post(token, session, echo)).status).toBe(400);
    const headers = { authorization: `Bearer ${token}`, "mcp-session-id": session };
    const wrong = { ...headers, "mcp-protocol-version": "2023-01-01" };
    expect((await fetch(`${server.url}/mcp`, { headers: wrong })).status).toBe(400);
    expect((await fetch(`${server.url}/mcp`, { method: "DELETE", headers })).status).toBe(200);
    expect(await (await first).text()).toContain("The session has ended.");
    await expect.poll(() => server.log).toContain("hangs ended");
    expect((await older.post(token, session, echo)).status).toBe(404);
    expect(server.counts()).toEqual({ sessions: 0, streams: 0, requests: 0 });
  });

  test("of one user does not take the room of the others", async () => {
    await using server = await openHttpServer();
    const older = openOlder(server.url);
    const [mallory, alice] = [tokenOf(server, "mallory"), tokenOf(server, "alice")];
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 50 }, () => older.begin(mallory)));
    }
    const kept = await older.begin(mallory);
    const refused = await fetch(`${server.url}/sse`, { headers: { authorization: `Bearer ${mallory}` } });
    expect([kept, refused.status]).toEqual(["", 503]);
    expect((await older.post(alice, await older.begin(alice), echo)).status).toBe(200);
    expect(server.counts().sessions).toBe(1_001);
  }, 60_000);
});

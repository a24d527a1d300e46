import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { changingSource } from "./changing.ts";
import { openOlder } from "./http-older.ts";
import { openHttpServer } from "./http-serve.ts";

const toolsChanged = "notifications/tools/list_changed";

/** A server over HTTP whose source changes, and sessions of raw older clients at it. */
async function open() {
  const changing = changingSource();
  const server = await openHttpServer({ sources: [changing.source] });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const older = openOlder(server.url);
  const tokenOf = (id: string) =>
    server.tokenOf(
      server.withRights(id, {
        tools: server.rightsTo(["echo", "logs"]),
        resources: [{ type: "uri", under: "live://" }],
      }),
    );
  async function begin(token: string): Promise<string> {
    const session = await older.begin(token);
    await older.post(token, session, { method: "notifications/initialized" });
    return session;
  }
  return { changing, server, older, tokenOf, begin };
}

describe("a session over HTTP", () => {
  test("gets once on its stream what changed before it listened", async () => {
    const { changing, older, tokenOf, begin } = await open();
    const token = tokenOf("one");
    const session = await begin(token);
    const subscribe = { id: 1, method: "resources/subscribe", params: { uri: "live://a" } };
    expect(await (await older.post(token, session, subscribe)).json()).toMatchObject({ id: 1, result: {} });
    for (let times = 0; times < 3; times += 1) {
      changing.change("tools");
      changing.update("live://a");
      await sleep(120);
    }
    const stream = await older.listen(token, "/mcp", session);
    await stream.waitFor(({ method }) => method === "notifications/resources/updated");
    await sleep(250);
    stream.leave();
    const text = await stream.ended;
    expect(text.split(toolsChanged)).toHaveLength(2);
    expect(text.split("live://a")).toHaveLength(2);
  });

  test("hears of changes under the token that it renewed, when the first is revoked", async () => {
    const { changing, server, older, tokenOf, begin } = await open();
    const [first, renewed] = [tokenOf("first"), tokenOf("renewed")];
    const session = await begin(first);
    await server.permissions.revoke("first", "test");
    const stream = await older.listen(renewed, "/mcp", session);
    changing.change("prompts");
    await sleep(250);
    await (await older.post(renewed, session, { id: 1, method: "tools/list" })).text();
    changing.change("tools");
    await stream.waitFor(({ method }) => method === toolsChanged);
    stream.leave();
    expect(await stream.ended).not.toContain("prompts/list_changed");
  });

  test("gets log lines from its own level on, not from that of another session", async () => {
    const { older, tokenOf, begin } = await open();
    const token = tokenOf("one");
    const [quiet, loud] = [await begin(token), await begin(token)];
    const setLevel = (level: string) => ({ id: 1, method: "logging/setLevel", params: { level } });
    for (const [session, level] of [
      [quiet, "error"],
      [loud, "debug"],
    ] as const) {
      expect(await (await older.post(token, session, setLevel(level))).json()).toMatchObject({ result: {} });
    }
    const call = { id: 2, method: "tools/call", params: { name: "logs" } };
    const linesOf = async (session: string) =>
      (await (await older.post(token, session, call)).text()).match(/notifications\/message/g)?.length ?? 0;
    expect([await linesOf(quiet), await linesOf(loud)]).toEqual([0, 2]);
    const unknown = await older.post(token, quiet, setLevel("loud"));
    expect(await unknown.json()).toMatchObject({ error: { code: -32_602 } });
  });
});

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Notice, openNotices } from "../../../src/server/mcp/notices.ts";
import { changingSource } from "./changing.ts";
import { openTestServer } from "./serve.ts";

/** A server whose source changes, and the notices over its door. */
async function open() {
  const changing = changingSource();
  const server = await openTestServer({ sources: [changing.source] });
  onTestFinished(() => server[Symbol.asyncDispose]());
  return { changing, server, notices: openNotices(server) };
}

const lists = ["tools", "resources", "prompts"] as const;
const toTold = (told: readonly Notice[]): readonly string[] => told.map(({ method }) => method);
const updated: Notice = { method: "notifications/resources/updated", params: { uri: "live://a" } };

describe("openNotices()", () => {
  test("tells a follower of the lists that it follows, once for what changes together", async () => {
    const { changing, server, notices } = await open();
    const all: Notice[] = [];
    const some: Notice[] = [];
    const grant = () => server.grant;
    using first = notices.follow({ grant, lists, tell: async (notice) => void all.push(notice) });
    using second = notices.follow({ grant, lists: ["prompts"], tell: async (notice) => void some.push(notice) });
    for (const one of [first, second]) one.begin();
    for (let times = 0; times < 50; times += 1) for (const kind of lists) changing.change(kind);
    await expect.poll(() => all.length).toBe(3);
    changing.change("tools");
    await expect.poll(() => all.length).toBe(4);
    expect(toTold(all)).toEqual([
      "notifications/tools/list_changed",
      "notifications/resources/list_changed",
      "notifications/prompts/list_changed",
      "notifications/tools/list_changed",
    ]);
    expect(toTold(some)).toEqual(["notifications/prompts/list_changed"]);
  });

  test("lets no source that comes and goes flood clients", async () => {
    const { changing, server, notices } = await open();
    const told: Notice[] = [];
    using following = notices.follow({ grant: () => server.grant, lists, tell: async (one) => void told.push(one) });
    following.begin();
    const started = performance.now();
    while (performance.now() < started + 500) {
      changing.toggle();
      following.mark(updated);
      await sleep(1);
    }
    await sleep(150);
    const elapsedMs = performance.now() - started;
    expect(told.length).toBeGreaterThan(3);
    expect(told.length).toBeLessThanOrEqual(2 * Math.ceil(elapsedMs / 100));
  });

  test("tells nothing before it begins, and keeps what it was marked with until then", async () => {
    const { server, notices } = await open();
    const told: Notice[] = [];
    using following = notices.follow({ grant: () => server.grant, lists, tell: async (one) => void told.push(one) });
    following.mark(updated);
    await sleep(250);
    expect(told).toEqual([]);
    following.begin();
    await expect.poll(() => told).toEqual([updated]);
  });

  test("tells nothing more to one that does not read, and once what it missed", async () => {
    const { changing, server, notices } = await open();
    const told: Notice[] = [];
    const read = Promise.withResolvers<void>();
    const tell = async (one: Notice) => {
      told.push(one);
      await read.promise;
    };
    using following = notices.follow({ grant: () => server.grant, lists: ["tools"], tell });
    following.begin();
    for (let times = 0; times < 4; times += 1) {
      changing.change("tools");
      await sleep(120);
    }
    expect(told).toHaveLength(1);
    read.resolve();
    await expect.poll(() => told.length).toBe(2);
    await sleep(250);
    expect(told).toHaveLength(2);
  });

  test("listens to nothing while nobody follows, and tells nothing that was pending at the end", async () => {
    const { changing, server, notices } = await open();
    expect(server.listening()).toBe(0);
    const told: Notice[] = [];
    const follow = () =>
      notices.follow({ grant: () => server.grant, lists, tell: async (notice) => void told.push(notice) });
    const followings = [follow(), follow()];
    for (const following of followings) following.begin();
    expect(server.listening()).toBe(1);
    changing.change("tools");
    for (const following of followings) following[Symbol.dispose]();
    expect(server.listening()).toBe(0);
    changing.change("tools");
    await sleep(250);
    expect(told).toEqual([]);
  });

  test("lets a follower go whose grant was revoked, and tells its neighbour on", async () => {
    const { changing, server, notices } = await open();
    const told: string[] = [];
    const dead: string[] = [];
    const follow = (id: string) =>
      notices.follow({
        grant: () => ({ ...server.grant, id }),
        lists,
        tell: async () => void told.push(id),
        onDead: () => dead.push(id),
      });
    using revoked = follow("revoked");
    using lawful = follow("lawful");
    for (const one of [revoked, lawful]) one.begin();
    changing.change("tools");
    await expect.poll(() => told).toEqual(["revoked", "lawful"]);
    await server.permissions.revoke("revoked", "test");
    revoked.mark(updated);
    changing.change("tools");
    await expect.poll(() => told).toEqual(["revoked", "lawful", "lawful"]);
    expect(dead).toEqual(["revoked"]);
  });

  test("notices within some seconds that a grant has died although nothing changes", async () => {
    const { server, notices } = await open();
    const dead: string[] = [];
    const grant = () => ({ ...server.grant, id: "revoked" });
    using following = notices.follow({ grant, lists, tell: async () => {}, onDead: () => dead.push("revoked") });
    following.begin();
    await server.permissions.revoke("revoked", "test");
    await expect.poll(() => dead).toEqual(["revoked"]);
    expect(server.listening()).toBe(0);
  });

  test("keeps no news for whoever hears nothing while its grant is dead, and goes on under the next", async () => {
    const { changing, server, notices } = await open();
    const told: Notice[] = [];
    let id = "old";
    using following = notices.follow({
      grant: () => ({ ...server.grant, id }),
      lists,
      tell: async (notice) => void told.push(notice),
    });
    following.begin();
    await server.permissions.revoke("old", "test");
    changing.change("tools");
    await sleep(250);
    expect(told).toEqual([]);
    id = "new";
    changing.change("prompts");
    await expect.poll(() => toTold(told)).toEqual(["notifications/prompts/list_changed"]);
  });
});

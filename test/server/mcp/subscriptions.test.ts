import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Grant } from "../../../src/permissions/grant.ts";
import { changingSource } from "./changing.ts";
import { envelope, type Message, type Peer } from "./peer.ts";
import { openTestServer } from "./serve.ts";

/** A server whose source changes. `reader` may read all that is live but `live://secret`. */
async function open() {
  const changing = changingSource();
  const server = await openTestServer({ sources: [changing.source] });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const reader = (id: string): Grant => {
    const values = ["live://a", "live://b", "live://broken"];
    return server.withRights(id, {
      resources: [
        { type: "one_of", values },
        { type: "uri", under: "live://many/" },
      ],
    });
  };
  return { changing, server, reader };
}

const many = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `live://many/${index}`);
const key = "io.modelcontextprotocol/subscriptionId";

function listen(peer: Peer, id: string, notifications: object): void {
  const params = { notifications, _meta: envelope() };
  peer.send({ jsonrpc: "2.0", id, method: "subscriptions/listen", params });
}

/** What came for a subscription, in its order: the methods, and `result` for its end. */
function toldTo({ received }: Peer, id: string): readonly string[] {
  const isIts = ({ id: answered, params }: Message): boolean => {
    const meta = params?.["_meta"];
    return answered === id || (typeof meta === "object" && meta !== null && Reflect.get(meta, key) === id);
  };
  return received.filter(isIts).map(({ method, result }) => method ?? (result === undefined ? "error" : "result"));
}

const acknowledged = "notifications/subscriptions/acknowledged";
const toolsChanged = "notifications/tools/list_changed";
const updated = "notifications/resources/updated";
const isMethod = (wanted: string) => (message: Message) => message.method === wanted;

describe("subscriptions/listen", () => {
  test("is acknowledged first with what is honoured, and tells only that, under its id", async () => {
    const { changing, server, reader } = await open();
    const peer = server.connect(reader("reader"));
    const asked = ["live://a", "live://secret", "live://b", "live://a", "live://broken", "none://x"];
    listen(peer, "one", { toolsListChanged: true, promptsListChanged: false, resourceSubscriptions: asked });
    listen(peer, "two", { promptsListChanged: true });
    await expect.poll(() => [toldTo(peer, "one"), toldTo(peer, "two")]).toEqual([[acknowledged], [acknowledged]]);
    expect(peer.received.find(({ params }) => JSON.stringify(params).includes('"one"'))?.params).toEqual({
      notifications: { toolsListChanged: true, resourceSubscriptions: ["live://a", "live://b"] },
      _meta: { [key]: "one" },
    });
    for (const kind of ["tools", "resources", "prompts"] as const) changing.change(kind);
    for (const uri of asked) changing.update(uri);
    await expect.poll(() => toldTo(peer, "one")).toEqual([acknowledged, updated, updated, toolsChanged]);
    expect(toldTo(peer, "two")).toEqual([acknowledged, "notifications/prompts/list_changed"]);
    const uris = peer.received.filter(isMethod(updated)).map(({ params }) => params?.["uri"]);
    expect(uris).toEqual(["live://a", "live://b"]);
  });

  test("tells nothing after its client cancelled it, and its id is free again", async () => {
    const { changing, server, reader } = await open();
    const peer = server.connect(reader("reader"));
    listen(peer, "one", { toolsListChanged: true, resourceSubscriptions: ["live://a"] });
    await peer.waitFor(isMethod(acknowledged));
    expect([changing.heard(), server.listening()]).toEqual([1, 1]);
    peer.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "one" } });
    await expect.poll(() => [changing.heard(), server.listening()]).toEqual([0, 0]);
    changing.change("tools");
    await sleep(250);
    expect(toldTo(peer, "one")).toEqual([acknowledged]);
    listen(peer, "one", { toolsListChanged: true });
    await expect.poll(() => toldTo(peer, "one")).toEqual([acknowledged, acknowledged]);
  });

  test("is refused under an id that listens already", async () => {
    const { server, changing, reader } = await open();
    const peer = server.connect(reader("reader"));
    listen(peer, "one", { toolsListChanged: true });
    listen(peer, "one", { toolsListChanged: true });
    expect((await peer.waitFor(({ error }) => error !== undefined)).error?.code).toBe(-32_600);
    changing.change("tools");
    await expect.poll(() => toldTo(peer, "one")).toEqual([acknowledged, toolsChanged]);
  });

  test.each([
    ["no filter", {}],
    ["a filter that is no object", { notifications: true }],
    ["a flag that is no boolean", { notifications: { toolsListChanged: "yes" } }],
    ["URIs that are no list", { notifications: { resourceSubscriptions: "live://a" } }],
    ["a URI of 9 kB", { notifications: { resourceSubscriptions: [`live://${"a".repeat(9_000)}`] } }],
  ])("with %s is answered -32602", async (_what, params) => {
    const { server, changing } = await open();
    const peer = server.connect();
    const answer = await peer.request("subscriptions/listen", { ...params, _meta: envelope() });
    expect(answer.error?.code).toBe(-32_602);
    expect([changing.heard(), server.listening()]).toEqual([0, 0]);
  });

  test("follows 1,000 resources of one connection and no more; those of another are not counted with them", async () => {
    const { server, changing, reader } = await open();
    const peer = server.connect(reader("reader"));
    const ask = (uris: readonly string[]) => ({
      notifications: { resourceSubscriptions: uris },
      _meta: envelope(),
    });
    const beyond = await peer.request("subscriptions/listen", ask(many(1_001)));
    expect(beyond.error).toMatchObject({ code: -32_602, data: { code: "resource.too_many" } });
    expect(changing.heard()).toBe(0);
    listen(peer, "most", { resourceSubscriptions: many(1_000) });
    await expect.poll(() => changing.heard()).toBe(1_000);
    expect((await peer.request("subscriptions/listen", ask([]))).error).toMatchObject({
      data: { code: "resource.too_many" },
    });
    const other = server.connect(reader("reader"));
    listen(other, "one", { resourceSubscriptions: ["live://a"] });
    await other.waitFor(isMethod(acknowledged));
    peer.hangUp();
    await peer.ended;
    expect(changing.heard()).toBe(1);
  });

  test("ends with a result when its grant is revoked, and its neighbour's goes on", async () => {
    const { changing, server, reader } = await open();
    const token = server.permissions.mint(reader("revoked"));
    const peer = server.connect(reader("lawful"));
    const notifications = { resourceSubscriptions: ["live://a"] };
    const presented = { ...envelope(), "dev.capstan/grant": token };
    const params = { notifications, _meta: presented };
    peer.send({ jsonrpc: "2.0", id: "revoked", method: "subscriptions/listen", params });
    listen(peer, "lawful", notifications);
    await expect.poll(() => changing.heard()).toBe(2);
    await server.permissions.revoke("revoked", "test");
    changing.update("live://a");
    await expect.poll(() => toldTo(peer, "lawful")).toEqual([acknowledged, updated]);
    await expect.poll(() => toldTo(peer, "revoked")).toEqual([acknowledged, "result"]);
    expect(changing.heard()).toBe(1);
  });

  test("ends with a result when the server ends", async () => {
    const { changing, server, reader } = await open();
    const peer = server.connect(reader("reader"));
    listen(peer, "one", { toolsListChanged: true, resourceSubscriptions: ["live://a"] });
    await peer.waitFor(isMethod(acknowledged));
    await server[Symbol.asyncDispose]();
    await expect.poll(() => toldTo(peer, "one")).toEqual([acknowledged, "result"]);
    expect(peer.received.at(-1)?.result).toMatchObject({ resultType: "complete", _meta: { [key]: "one" } });
    expect([changing.heard(), server.listening()]).toEqual([0, 0]);
  });

  test("under a token that is not good is refused", async () => {
    const { server } = await open();
    const peer = server.connect();
    const params = { notifications: {}, _meta: { ...envelope(), "dev.capstan/grant": "a.b.c" } };
    expect((await peer.request("subscriptions/listen", params)).error?.message).toMatch(/^token\./);
  });
});

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Grant } from "../../../src/permissions/grant.ts";
import { changingSource } from "./changing.ts";
import { envelope, type Peer } from "./peer.ts";
import { openTestServer } from "./serve.ts";

/** A server whose source changes. `reader` may read `live://a`, `live://b` and the thousands, and not `live://secret`. */
async function open() {
  const changing = changingSource();
  const server = await openTestServer({ sources: [changing.source] });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const reader = (id: string): Grant =>
    server.withRights(id, {
      tools: server.rightsTo(["echo"]),
      resources: [
        { type: "one_of", values: ["live://a", "live://b", "live://broken"] },
        { type: "uri", under: "live://many/" },
      ],
    });
  async function connect(grant: Grant): Promise<ReturnType<typeof server.connect>> {
    const peer = server.connect(grant);
    await peer.initialize();
    return peer;
  }
  return { changing, server, reader, connect };
}

const subscribe = (peer: Peer, uri: string, meta: object = {}) =>
  peer.request("resources/subscribe", { uri, _meta: meta });
const unsubscribe = (peer: Peer, uri: string) => peer.request("resources/unsubscribe", { uri });
/** What a peer was told unasked: the methods, or the URIs that were updated. */
const toldTo = ({ received }: Peer): readonly string[] =>
  received.flatMap(({ id, method = "", params }) => {
    const uri = params?.["uri"];
    return id === undefined ? [typeof uri === "string" ? uri : method] : [];
  });

describe("an older client", () => {
  test("is told that it will hear of changes, and does once it is initialized", async () => {
    const { changing, server, reader } = await open();
    const peer = server.connect(reader("reader"));
    const clientInfo = { name: "raw", version: "1" };
    const params = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo };
    expect((await peer.request("initialize", params)).result?.["capabilities"]).toMatchObject({
      tools: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
      prompts: { listChanged: true },
    });
    changing.change("tools");
    await sleep(250);
    expect(toldTo(peer)).toEqual([]);
    peer.send({ jsonrpc: "2.0", method: "notifications/initialized" });
    await peer.request("ping");
    for (const kind of ["tools", "resources", "prompts"] as const) changing.change(kind);
    await expect
      .poll(() => toldTo(peer))
      .toEqual(["tools", "resources", "prompts"].map((kind) => `notifications/${kind}/list_changed`));
  });

  test("hears of the resources that it subscribes to, until it unsubscribes", async () => {
    const { changing, reader, connect } = await open();
    const peer = await connect(reader("reader"));
    for (const uri of ["live://a", "live://b"]) expect((await subscribe(peer, uri)).result).toEqual({});
    for (const uri of ["live://a", "live://b", "live://a"]) changing.update(uri);
    await expect.poll(() => toldTo(peer).toSorted()).toEqual(["live://a", "live://b"]);
    expect((await unsubscribe(peer, "live://a")).result).toEqual({});
    for (const uri of ["live://a", "live://b"]) changing.update(uri);
    await expect.poll(() => toldTo(peer).toSorted()).toEqual(["live://a", "live://b", "live://b"]);
    expect((await unsubscribe(peer, "live://a")).result).toEqual({});
    expect(changing.heard()).toBe(1);
  });

  test("subscribes to nothing that its grant does not allow: it is not there (B17)", async () => {
    const { changing, reader, connect } = await open();
    const peer = await connect(reader("reader"));
    const secret = await subscribe(peer, "live://secret");
    const missing = await subscribe(peer, "none://secret");
    expect(secret.error).toMatchObject({ code: -32_602, data: { code: "resource.unknown" } });
    expect(JSON.stringify(secret.error).replaceAll("live:", "none:")).toBe(JSON.stringify(missing.error));
    expect((await subscribe(peer, "live://a")).error).toBeUndefined();
    for (const uri of ["live://secret", "live://a"]) changing.update(uri);
    await expect.poll(() => toldTo(peer)).toEqual(["live://a"]);
  });

  test("hears nothing of another user's resources under the same URI", async () => {
    const { changing, server, reader, connect } = await open();
    const mallory = { org: "local", user: "mallory" };
    const theirs = await connect({
      ...reader("theirs"),
      principal: mallory,
      epoch: server.permissions.epoch(mallory),
    });
    const own = await connect(reader("own"));
    for (const peer of [theirs, own]) await subscribe(peer, "live://a");
    changing.update("live://a", "operator");
    await expect.poll(() => toldTo(own)).toEqual(["live://a"]);
    changing.update("live://a", "mallory");
    await expect.poll(() => toldTo(theirs)).toEqual(["live://a"]);
    expect(toldTo(own)).toEqual(["live://a"]);
  });

  test("hears nothing more under a grant that was revoked; what it subscribed to under another goes on", async () => {
    const { changing, server, reader, connect } = await open();
    const peer = await connect(reader("lawful"));
    const token = server.permissions.mint(reader("revoked"));
    await subscribe(peer, "live://a", { "dev.capstan/grant": token });
    await subscribe(peer, "live://b");
    await server.permissions.revoke("revoked", "test");
    for (const uri of ["live://a", "live://b"]) changing.update(uri);
    await expect.poll(() => toldTo(peer)).toEqual(["live://b"]);
    await expect.poll(() => changing.heard()).toBe(1);
    const again = await subscribe(peer, "live://a", { "dev.capstan/grant": token });
    expect(again.error).toMatchObject({ code: -32_602, data: { code: "token.revoked" } });
  });

  test("subscribes again under another token, and misses nothing in between", async () => {
    const { changing, server, reader, connect } = await open();
    const peer = await connect(reader("first"));
    await subscribe(peer, "live://a");
    const token = server.permissions.mint(reader("second"));
    await subscribe(peer, "live://a", { "dev.capstan/grant": token });
    await expect.poll(() => toldTo(peer)).toEqual(["live://a"]);
    expect(changing.heard()).toBe(1);
    await server.permissions.revoke("second", "test");
    await expect.poll(() => changing.heard()).toBe(0);
  });

  test("subscribes to 1,000 resources and no more, and to another when it has ended one", async () => {
    const { changing, reader, connect } = await open();
    const peer = await connect(reader("reader"));
    const uris = Array.from({ length: 1_000 }, (_, index) => `live://many/${index}`);
    const answers = await Promise.all(uris.map((uri) => subscribe(peer, uri)));
    expect(answers.filter(({ error }) => error !== undefined)).toEqual([]);
    expect((await subscribe(peer, "live://a")).error).toMatchObject({
      code: -32_602,
      data: { code: "resource.too_many" },
    });
    expect((await subscribe(peer, "live://many/7")).error).toBeUndefined();
    await unsubscribe(peer, "live://many/7");
    expect((await subscribe(peer, "live://a")).error).toBeUndefined();
    expect(changing.heard()).toBe(1_000);
    const other = await connect(reader("reader"));
    expect((await subscribe(other, "live://a")).error).toBeUndefined();
  }, 30_000);

  test("leaves nothing behind when it hangs up, also of what it subscribed to last", async () => {
    const { changing, server, reader, connect } = await open();
    const peer = await connect(reader("reader"));
    for (const uri of ["live://a", "live://b", "live://a"]) {
      peer.send({ jsonrpc: "2.0", id: Math.random(), method: "resources/subscribe", params: { uri } });
    }
    peer.hangUp();
    await peer.ended;
    expect([changing.heard(), server.listening()]).toEqual([0, 0]);
  });

  test("is told that a source failed, and may try again", async () => {
    const { changing, server, reader, connect } = await open();
    const peer = await connect(reader("reader"));
    const failed = await subscribe(peer, "live://broken");
    expect(failed.error?.code).toBe(-32_603);
    expect(JSON.stringify([failed, server.logged])).not.toContain("a source that fails");
    expect((await subscribe(peer, "live://a")).error).toBeUndefined();
    expect(changing.heard()).toBe(1);
  });

  test("is the only one to subscribe so: the newer era has no such methods", async () => {
    const { server, reader } = await open();
    const peer = server.connect(reader("reader"));
    for (const method of ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"]) {
      const answer = await peer.request(method, { uri: "live://a", level: "debug", _meta: envelope() });
      expect(answer.error?.code).toBe(-32_601);
    }
  });
});

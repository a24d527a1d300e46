import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import type { Front } from "./bridge-fronts.ts";
import { type Bridged, frontKinds, official, openBridged } from "./bridge-support.ts";

// Both eras behind, each client in front: one Capstan for all of them.
let bridged: Bridged;
beforeAll(async () => {
  bridged = await openBridged({ old: official("old"), new: official("new") });
});
afterAll(() => bridged[Symbol.asyncDispose]());

const Who = z.object({
  seen: z.looseObject({ open: z.int(), cancelled: z.int(), watched: z.array(z.string()).optional() }),
});
const seenBy = async (front: Front, server: string): Promise<z.infer<typeof Who>["seen"]> =>
  Who.parse(JSON.parse(await front.call(`${server}__who`))).seen;

const behind = ["old", "new"] as const;
const pairs = frontKinds.flatMap((front) => behind.map((server) => [front, server] as const));

describe.each(pairs)("through the bridge from a client (%s) to a server (%s)", (kind, server) => {
  test("progress and log lines come while the call runs", async () => {
    await using front = await bridged.front(kind);
    const steps: unknown[] = [];
    const onprogress = (step: object): void => void steps.push(step);
    expect(await front.call(`${server}__steps`, { steps: 2 }, { onprogress })).toBe('"done"');
    // Capstan tells ten times a second at most, so that of what comes later some is left out.
    expect(steps[0]).toEqual({ progress: 1, total: 2, message: "step 1" });
    const lines = [1, 2].map((step) => ({ level: "warning", logger: "stove", data: { step } }));
    await expect.poll(() => front.logs).toEqual(lines);
  });

  test("a call that is cancelled is cancelled behind, and the next one runs", async () => {
    await using front = await bridged.front(kind);
    const before = await seenBy(front, server);
    const controller = new AbortController();
    const call = front.call(`${server}__hang`, {}, { signal: controller.signal });
    await expect.poll(async () => (await seenBy(front, server)).open).toBe(before.open + 1);
    controller.abort();
    await expect(call).rejects.toThrow(/abort/i);
    const expected = { open: before.open, cancelled: before.cancelled + 1 };
    await expect.poll(() => seenBy(front, server)).toMatchObject(expected);
  });
});

test.each(frontKinds)("a client that is gone (%s) takes the call with it that runs behind", async (kind) => {
  await using other = await bridged.front("2026, v2, stdio");
  const before = await seenBy(other, "new");
  const front = await bridged.front(kind);
  front.call("new__hang").catch(() => {}); // Some clients never say that it ended.
  await expect.poll(async () => (await seenBy(other, "new")).open).toBe(before.open + 1);
  await front[Symbol.asyncDispose]();
  const expected = { open: before.open, cancelled: before.cancelled + 1 };
  await expect.poll(() => seenBy(other, "new")).toMatchObject(expected);
});

describe.each(behind)("what changes at a server (%s)", (server) => {
  const uri = `${server}+note://a`;

  test("is heard by each client in front that wants to hear it, and by none longer than that", async () => {
    await using opened = new AsyncDisposableStack();
    const all = await Promise.all(frontKinds.map((kind) => bridged.front(kind)));
    for (const front of all) opened.use(front);
    const [first] = all;
    if (first === undefined) throw new Error("no client");
    await Promise.all(all.map((front) => front.listen(uri)));
    // However many listen in front, the server is asked once. Only older servers are asked by a request of its own.
    const watched = (uris: readonly string[]) => (server === "old" ? uris : undefined);
    expect((await seenBy(first, server)).watched).toEqual(watched(["note://a"]));

    await first.call(`${server}__grow`);
    const lists = ["prompts", "resources", "tools"];
    for (const front of all) await expect.poll(() => [...new Set(front.heard)].sort()).toEqual(lists);

    await first.call(`${server}__touch`, { uri: "note://other" });
    await first.call(`${server}__touch`, { uri: "note://a" });
    const toUpdates = (front: Front) => front.heard.filter((heard) => heard.includes("://"));
    for (const front of all) await expect.poll(() => toUpdates(front)).toEqual([uri]);

    await Promise.all(all.map((front) => front.unlisten(uri)));
    await expect.poll(async () => (await seenBy(first, server)).watched).toEqual(watched([]));
    await first.call(`${server}__touch`, { uri: "note://a" });
    await sleep(250);
    expect(all.map(toUpdates)).toEqual(all.map(() => [uri]));

    await using fresh = await bridged.front("2026, v2, HTTP");
    expect(await fresh.call(`${server}__late`)).toBe('"late"');
  });
});

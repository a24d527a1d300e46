import { describe, expect, test } from "vitest";
import type { ResourceSource } from "../../src/tools/resource.ts";
import { codeOfAsync } from "../permissions/grants.ts";
import { books, openReader } from "./readers.ts";

/** A source whose resources change when the test says so, and that knows who follows them. */
function changing({ atOnce = false } = {}) {
  const followers = new Set<() => void>();
  const source = books({
    async subscribe(_uri, _context, onUpdate) {
      followers.add(onUpdate);
      if (atOnce) onUpdate();
      return { [Symbol.asyncDispose]: async () => void followers.delete(onUpdate) };
    },
  });
  return { source, followers, change: () => [...followers].forEach((tell) => tell()) };
}

describe("a subscription at the door", () => {
  test("tells of changes until it is disposed", async () => {
    const { source, followers, change } = changing();
    await using reader = await openReader({ resources: [source] });
    let told = 0;
    const following = await reader.door.subscribe({ ...reader.request(), uri: "books://open/1" }, () => (told += 1));
    change();
    change();
    expect(told).toBe(2);
    await following[Symbol.asyncDispose]();
    expect(followers.size).toBe(0);
    change();
    expect(told).toBe(2);
  });

  test("ends with its grant: it tells nothing any more, and the source is left", async () => {
    const { source, followers, change } = changing();
    await using reader = await openReader({ resources: [source] });
    let told = 0;
    const following = await reader.door.subscribe({ ...reader.request(), uri: "books://open/1" }, () => (told += 1));
    await reader.permissions.revoke(reader.grant.id, "test");
    change();
    expect(told).toBe(0);
    expect(followers.size).toBe(0);
    await following[Symbol.asyncDispose]();
  });

  test("ends also where the grant ends while it is being opened", async () => {
    const { source, followers } = changing({ atOnce: true });
    const revokeFirst: ResourceSource = {
      ...source,
      async subscribe(...asked) {
        await reader.permissions.revoke(reader.grant.id, "test");
        return (await source.subscribe?.(...asked)) ?? new AsyncDisposableStack();
      },
    };
    await using reader = await openReader({ resources: [revokeFirst] });
    let told = 0;
    await reader.door.subscribe({ ...reader.request(), uri: "books://open/1" }, () => (told += 1));
    expect([told, followers.size]).toEqual([0, 0]);
  });

  test("is refused for what may not be read, and the source does not hear of it", async () => {
    const { source, followers } = changing();
    await using reader = await openReader({ resources: [source] });
    const follow = (uri: string) => reader.door.subscribe({ ...reader.request(), uri }, () => {});
    expect(await codeOfAsync(() => follow("books://closed/1"))).toBe("resource.unknown");
    expect(await codeOfAsync(() => follow("books://open/../closed/1"))).toBe("resource.unknown");
    expect(followers.size).toBe(0);
    await follow("books://open/1");
    expect(followers.size).toBe(1);
  });

  test("to what never changes stays quiet", async () => {
    await using reader = await openReader();
    let told = 0;
    const following = await reader.door.subscribe({ ...reader.request(), uri: "books://open/1" }, () => (told += 1));
    await following[Symbol.asyncDispose]();
    expect(told).toBe(0);
  });
});

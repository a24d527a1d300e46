import { array, assert, asyncProperty, constantFrom, jsonValue, nat, option, record } from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { slowCases } from "../support/cases.ts";
import { handClock } from "../support/clock.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf, codesOf, otherScope, scope, stores } from "./stores.ts";

const put = (key: string, value: Json, ifVersion?: number) => ({
  scope,
  records: [{ kind: "k", key, value, ...(ifVersion === undefined ? {} : { ifVersion }) }],
});
const remove = (key: string, ifVersion?: number) => ({
  scope,
  records: [{ kind: "k", key, ...(ifVersion === undefined ? {} : { ifVersion }) }],
});

describe.each(stores)("records in $name", ({ open }) => {
  test("count their versions from 1 and say when they changed", async () => {
    await using folder = await tempFolder();
    const clock = handClock(100);
    await using store = await open(folder.path, clock);
    await store.commit(put("a", { n: [1, null, "x"] }));
    expect(await store.record(scope, "k", "a")).toEqual({
      key: "a",
      value: { n: [1, null, "x"] },
      version: 1,
      updatedAt: 100,
    });
    clock.advance(1);
    await store.commit(put("a", null));
    expect(await store.record(scope, "k", "a")).toEqual({ key: "a", value: null, version: 2, updatedAt: 101 });
    await store.commit(remove("a"));
    expect(await store.record(scope, "k", "a")).toBeNull();
    await store.commit(remove("a"));
    await store.commit(put("a", 3));
    expect(await store.record(scope, "k", "a")).toMatchObject({ version: 1 });
  });

  test("change only at the version that was asked for", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    expect(await codeOf(store.commit(put("a", 1, 1)))).toBe("store.conflict");
    expect(await codeOf(store.commit(put("a", 1, 0)))).toBe("done");
    expect(await codeOf(store.commit(put("a", 2, 0)))).toBe("store.conflict");
    expect(await codeOf(store.commit(put("a", 2, 2)))).toBe("store.conflict");
    expect(await codeOf(store.commit(remove("a", 2)))).toBe("store.conflict");
    expect(await codeOf(store.commit(put("a", 2, 1)))).toBe("done");
    expect(await codeOf(store.commit(remove("a", 2)))).toBe("done");
    expect(await codeOf(store.commit(remove("a", 1)))).toBe("store.conflict");
    expect(await codeOf(store.commit(remove("a", 0)))).toBe("done");
  });

  test("let one of many writers win, and write nothing else of a losing batch", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const writers = Array.from({ length: 20 }, (_, index) =>
      store.commit({
        scope,
        records: [
          { kind: "k", key: `mine ${index}`, value: index },
          { kind: "k", key: "shared", value: index, ifVersion: 0 },
        ],
      }),
    );
    expect(await codesOf(writers)).toEqual({ done: 1, "store.conflict": 19 });
    expect(await store.records(scope, "k")).toHaveLength(2);
  });

  test("see the writes before them in their own batch", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const write = (value: number, ifVersion: number) => ({ kind: "k", key: "a", value, ifVersion });
    await store.commit({ scope, records: [write(1, 0), write(2, 1), { kind: "k", key: "a" }, write(3, 0)] });
    expect(await store.record(scope, "k", "a")).toMatchObject({ value: 3, version: 1 });
    expect(await codeOf(store.commit({ scope, records: [write(4, 1), write(5, 1)] }))).toBe("store.conflict");
    expect(await store.record(scope, "k", "a")).toMatchObject({ value: 3, version: 1 });
  });

  test("are apart by kind and by scope", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({
      scope,
      records: [
        { kind: "k", key: "a", value: 1 },
        { kind: "k2", key: "a", value: 2 },
      ],
    });
    await store.commit({ scope: otherScope, records: [{ kind: "k", key: "a", value: 3, ifVersion: 0 }] });
    await store.commit(remove("a"));
    expect(await store.record(scope, "k", "a")).toBeNull();
    expect(await store.record(scope, "k2", "a")).toMatchObject({ value: 2 });
    expect(await store.records(otherScope, "k")).toMatchObject([{ value: 3 }]);
  });

  test("are listed by key, by prefix, behind a key and up to a limit", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const keys = ["b", "a/2", "a", "a/1", "a%", "a_", "A", "a/\u{10FFFF}x", "a/\0", "á"];
    await store.commit({ scope, records: keys.map((key) => ({ kind: "k", key, value: key })) });
    const list = async (options?: { prefix?: string; after?: string; limit?: number }) =>
      (await store.records(scope, "k", options)).map(({ key }) => key);
    expect(await list()).toEqual(["A", "a", "a%", "a/\0", "a/1", "a/2", "a/\u{10FFFF}x", "a_", "b", "á"]);
    expect(await list({ prefix: "a/" })).toEqual(["a/\0", "a/1", "a/2", "a/\u{10FFFF}x"]);
    expect(await list({ prefix: "a/", after: "a/1" })).toEqual(["a/2", "a/\u{10FFFF}x"]);
    expect(await list({ prefix: "a/", after: "a" })).toHaveLength(4);
    expect(await list({ prefix: "a/", after: "b" })).toEqual([]);
    expect(await list({ after: "a/2", limit: 2 })).toEqual(["a/\u{10FFFF}x", "a_"]);
    expect(await list({ limit: 0 })).toEqual([]);
    expect(await list({ prefix: "c" })).toEqual([]);
  });

  test("equal a map of versioned values after any sequence of writes", async () => {
    const write = record(
      {
        kind: constantFrom("k", "l"),
        key: constantFrom("a", "b", "__proto__"),
        value: option(jsonValue(), { nil: undefined }),
        ifVersion: nat({ max: 3 }),
      },
      { requiredKeys: ["kind", "key"] },
    );
    await assert(
      asyncProperty(array(array(write, { maxLength: 3 }), { maxLength: 12 }), async (batches) => {
        await using folder = await tempFolder();
        await using store = await open(folder.path);
        let model = new Map<string, { value: unknown; version: number }>();
        for (const records of batches) {
          const next = new Map(model);
          const lawful = records.every(({ kind, key, value, ifVersion }) => {
            const version = next.get(`${kind} ${key}`)?.version ?? 0;
            if (ifVersion !== undefined && ifVersion !== version) return false;
            if (value === undefined) next.delete(`${kind} ${key}`);
            else next.set(`${kind} ${key}`, { value: JSON.parse(JSON.stringify(value)), version: version + 1 });
            return true;
          });
          const writes = JSON.parse(JSON.stringify(records));
          expect(await codeOf(store.commit({ scope, records: writes }))).toBe(lawful ? "done" : "store.conflict");
          if (lawful) model = next;
        }
        for (const kind of ["k", "l"]) {
          const found = (await store.records(scope, kind)).map(
            ({ key, value, version }) => [`${kind} ${key}`, { value, version }] as const,
          );
          expect(new Map(found)).toEqual(new Map([...model].filter(([id]) => id.startsWith(kind))));
        }
      }),
      { numRuns: slowCases },
    );
  });
});

describe.each(stores)("blobs in $name", ({ open }) => {
  test("come back by the hash of their bytes, also when they were stored twice", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => index % 251);
    const [hash, again, empty] = await Promise.all([bytes, bytes, new Uint8Array()].map((item) => store.putBlob(item)));
    expect(again).toBe(hash);
    expect(empty).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(await store.blob(hash ?? "")).toEqual(bytes);
    expect(await store.blob(empty ?? "")).toEqual(new Uint8Array());
    expect(await store.blob("f".repeat(64))).toBeNull();
  });
});

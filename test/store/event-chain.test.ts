import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { EventBody } from "../../src/core/event.ts";
import { sha256 } from "../../src/core/json.ts";
import { hashEvent, noEventHash, packBody, readPlaces, unpackBody } from "../../src/store/event-chain.ts";
import type { Store } from "../../src/store/store.ts";
import { pureCases } from "../support/cases.ts";
import { tempFolder } from "../support/temp.ts";
import { all, codeOf, otherScope, said, scope, stores } from "./stores.ts";

const large = (char: string): string => char.repeat(8_192);

/** What a run's rows hash to, computed anew. */
async function hashesOf(store: Store, runId: string, start = noEventHash): Promise<readonly string[]> {
  let hash = start;
  const rows = await all(store.eventRows(scope, runId));
  return rows.map((row) => (hash = hashEvent(hash, { scope, runId }, row)));
}

const created = (previous?: { runId: string; seq: number }): EventBody => ({
  ...{ type: "run.created", task: "go", model: "m", grantId: "g" },
  limits: { turns: 1, timeMs: 1, costMicroUsd: 0, depth: 1, parallel: 1 },
  ...(previous === undefined ? {} : { previous: { ...previous, how: "fork" } }),
});

describe("packBody()", () => {
  /** Texts on both sides of what is kept apart, and such as look like what stands in their place. */
  const texts = fc.constantFrom(
    ...[
      "",
      "a",
      large("x"),
      large("y"),
      `${large("z")}\ud800`,
      large("x").slice(1),
      "ü".repeat(8_192),
      sha256(large("x")),
    ],
    ...[`[[1,"${sha256(large("x"))}"]]`, JSON.stringify({ large: sha256(large("y")) })],
  );
  const keys = fc.oneof(fc.constantFrom("__proto__", "constructor", "7", "large", "toJSON"), fc.string());
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, texts, fc.jsonValue(), fc.array(tie("value")), tie("object")),
    object: fc.array(fc.tuple(keys, tie("value"))).map((entries) => JSON.parse(toObjectText(entries))),
  }));

  test("gives back every value, whatever looks like a reference in it", () => {
    const comesBack = fc.property(value, (one) => {
      const packed = packBody(one);
      const back = unpackBody(packed, (hash) => packed.texts.get(hash) ?? null);
      expect(JSON.stringify(back)).toBe(JSON.stringify(one));
    });
    fc.assert(comesBack, { numRuns: pureCases / 10 });
  });

  test("keeps large texts apart, each once, and no others", () => {
    const packed = packBody({ a: large("x"), b: ["", large("x")], [large("k")]: "small", c: large("x").slice(1) });
    expect([...packed.texts.keys()]).toEqual([sha256(large("x"))]);
    expect([...readPlaces(packed.large ?? "").keys()]).toEqual([1, 3]);
    expect(packBody({ a: large("x").slice(1) })).toMatchObject({ large: null });
    expect(packBody({ a: `${large("x")}\ud800` })).toMatchObject({ large: null });
  });

  test("comes back only where every text is there, in its place", () => {
    const packed = packBody({ a: large("x"), b: 1 });
    const textOf = (): Uint8Array => Buffer.from(large("x"));
    expect(unpackBody(packed, textOf)).toEqual({ a: large("x"), b: 1 });
    for (const broken of [
      { ...packed, large: `[[2,"${sha256("")}"]]` },
      { ...packed, large: "{}" },
      { ...packed, large: `[["1","${sha256("")}"]]` },
      { ...packed, body: `{"a":"other","b":1}` },
    ]) {
      expect(() => unpackBody(broken, textOf)).toThrow(expect.objectContaining({ code: "store.corrupt" }));
    }
    expect(() => unpackBody(packed, () => null)).toThrow(expect.objectContaining({ code: "store.corrupt" }));
  });
});

describe.each(stores)("the chain of a run's events in $name", ({ open }) => {
  test("goes from its first event to its last, over all that is stored of each", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, runId: "r", afterSeq: 0, events: [said("a"), said(large("b"))] });
    await Promise.all([
      store.commit({ scope, runId: "r", afterSeq: 2, events: [said("c")] }),
      store.commit({ scope, runId: "r", afterSeq: 3, events: [said("d")] }),
    ]);
    const rows = await all(store.eventRows(scope, "r"));
    expect(rows.map(({ hash }) => hash)).toEqual(await hashesOf(store, "r"));
    const [row] = rows;
    if (row === undefined) throw new Error("There is no row.");
    const others = [
      hashEvent("1".repeat(64), { scope, runId: "r" }, row),
      hashEvent(noEventHash, { scope: otherScope, runId: "r" }, row),
      hashEvent(noEventHash, { scope, runId: "s" }, row),
      ...[{ seq: 2 }, { at: row.at + 1 }, { body: `${row.body} ` }, { large: "[]" }].map((over) =>
        hashEvent(noEventHash, { scope, runId: "r" }, { ...row, ...over }),
      ),
    ];
    expect(new Set([row.hash, ...others]).size).toBe(others.length + 1);
  });

  test("begins, in a run that goes on from another, at the event that it goes on from", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, runId: "r", afterSeq: 0, events: [created(), said("a"), said("b")] });
    const fork = (seq: number, runId = "r") =>
      store.commit({ scope, runId: "f", afterSeq: 0, events: [created({ runId, seq })] });
    expect(await codeOf(fork(4))).toBe("store.not_found");
    expect(await codeOf(fork(1, "q"))).toBe("store.not_found");
    expect(await codeOf(fork(2))).toBe("done");
    const [parent, rows] = await Promise.all([all(store.eventRows(scope, "r")), all(store.eventRows(scope, "f"))]);
    expect(rows.map(({ hash }) => hash)).toEqual(await hashesOf(store, "f", parent[1]?.hash));
  });

  test("keeps a large text once, however many events have it", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const events = Array.from({ length: 20 }, (_, n) => said(n % 2 === 0 ? large("b").repeat(10) : `${n}`));
    await store.commit({ scope, runId: "r", afterSeq: 0, events });
    await store.commit({ scope, runId: "s", afterSeq: 0, events });
    expect(
      (await all(store.events(scope, "s"))).map(({ type, ...rest }) => ("input" in rest ? rest.input : type)),
    ).toEqual(events.map((event) => (event.type === "input.received" ? event.input : event.type)));
    const stored = (await all(store.eventRows(scope, "r"))).reduce((sum, { body }) => sum + body.length, 0);
    expect(stored).toBeLessThan(5_000);
    expect(await store.blob(sha256(large("b").repeat(10)))).toHaveLength(81_920);
  });
});

describe("a store without a chain", () => {
  test("is chained as it is found", async () => {
    await using folder = await tempFolder();
    const [{ open }] = stores;
    const whole = said(large("w"));
    {
      await using store = await open(folder.path);
      for (const runId of ["a", "b"]) {
        await store.commit({ scope, runId, afterSeq: 0, events: [said("1"), said("2"), said(runId)], at: 5 });
      }
      await store.commit({ scope: otherScope, runId: "b", afterSeq: 0, events: [said("1")] });
    }
    {
      using db = new DatabaseSync(join(folder.path, "state.db"));
      db.exec("alter table events drop column hash; alter table events drop column large; pragma user_version = 2");
      // As older stores hold it: a large text within its event.
      db.prepare("update events set body = ? where run = 'a' and seq = 2").run(JSON.stringify(whole));
    }
    await using store = await open(folder.path);
    for (const runId of ["a", "b"]) {
      const rows = await all(store.eventRows(scope, runId));
      expect(rows.map(({ seq, at }) => [seq, at])).toEqual([1, 2, 3].map((seq) => [seq, 5]));
      expect(rows.map(({ hash }) => hash)).toEqual(await hashesOf(store, runId));
    }
    expect((await all(store.events(scope, "a")))[1]).toMatchObject(whole);
    await store.commit({ scope, runId: "a", afterSeq: 3, events: [said("later")] });
    expect((await all(store.eventRows(scope, "a"))).at(-1)?.hash).toBe((await hashesOf(store, "a")).at(-1));
    expect(await all(store.eventRows(otherScope, "b"))).toHaveLength(1);
  });
});

/** An object as text, so that its keys are its own, whatever they are called. */
function toObjectText(entries: readonly (readonly [string, unknown])[]): string {
  const unique = new Map(entries.map(([key, item]) => [JSON.stringify(key), JSON.stringify(item)]));
  return `{${[...unique].map(([key, item]) => `${key}:${item}`).join(",")}}`;
}

import { array, assert, asyncProperty, constantFrom, nat, option, property, record, string } from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, sha256 } from "../../src/core/json.ts";
import { chainRow, entryText, hashRow } from "../../src/store/audit-chain.ts";
import { AuditEntry } from "../../src/store/store.ts";
import { pureCases, slowCases } from "../support/cases.ts";
import { tempFolder } from "../support/temp.ts";
import { account, all, auditEntry, codesOf, oneCall, readChains, scope, stores } from "./stores.ts";

const text = string({ unit: "binary" });
const optional = option(text, { nil: undefined });
const entries = record({
  at: nat(),
  scope: constantFrom(scope, { org: "b", project: "c" }),
  user: text,
  grantId: text,
  ancestors: array(text),
  runId: optional,
  callId: text,
  parentId: optional,
  action: text,
  name: text,
  pin: optional,
  argsHash: optional,
  taint: array(text),
  decision: constantFrom("allow" as const, "deny" as const, "ask" as const),
  reason: optional,
  approvalId: optional,
}).map((entry) => AuditEntry.parse(JSON.parse(JSON.stringify(entry))));

test("entryText() is the canonical JSON of the entry", () => {
  assert(
    property(entries, (entry) => {
      expect(entryText(entry)).toBe(canonicalJson(entry));
    }),
    { numRuns: pureCases },
  );
});

test("hashRow() covers the row before, the writer, the place and the whole entry", () => {
  const row = { previousHash: "p", writer: 'w"', seq: 3, entry: auditEntry("c") };
  expect(hashRow(row)).toBe(sha256(canonicalJson(["p", 'w"', 3, auditEntry("c")])));
  const changed = [
    { ...row, previousHash: "q" },
    { ...row, writer: "w" },
    { ...row, seq: 4 },
    { ...row, entry: { ...row.entry, decision: "deny" as const } },
    { ...row, entry: { ...row.entry, reason: "" } },
  ];
  expect(new Set([row, ...changed].map((each) => hashRow(each))).size).toBe(6);
});

test("chainRow() follows the row before, and zeros at the beginning", () => {
  const first = chainRow(null, "w", auditEntry("a"));
  const second = chainRow(first, "w", auditEntry("b"));
  expect([first.seq, second.seq]).toEqual([1, 2]);
  expect([first.previousHash, second.previousHash]).toEqual(["0".repeat(64), first.hash]);
});

describe.each(stores)("the audit log in $name", ({ open }) => {
  test("is one chain per writer in the order of its commits, and goes on behind a refused one without a gap", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    expect(store.auditHead()).toBeNull();
    const commits = Array.from({ length: 12 }, (_, index) =>
      store.commit({
        scope,
        charges: [oneCall(`c${index}`, account(index % 3 === 0 ? "small" : "large", index % 3 === 0 ? 1 : 100))],
        audit: [auditEntry(`${index} first`), auditEntry(`${index} second`)],
      }),
    );
    expect(await codesOf(commits)).toEqual({ done: 9, "budget.calls": 3 });
    const passed = [0, 1, 2, 4, 5, 7, 8, 10, 11];
    expect(await readChains(store)).toEqual({
      callIds: passed.flatMap((index) => [`${index} first`, `${index} second`]),
      broken: [],
    });
    const rows = await all(store.audit());
    expect(rows.at(-1)).toMatchObject({ ...store.auditHead(), seq: 18 });
    expect(new Set(rows.map(({ writer }) => writer)).size).toBe(1);
  });

  test("keeps the chains of several writers apart, and a store that is opened again begins a new one", async () => {
    await using folder = await tempFolder();
    const heads = [];
    for (let round = 0; round < 2; round += 1) {
      await using first = await open(folder.path);
      await using second = await open(folder.path);
      for (let index = 0; index < 5; index += 1) {
        await first.commit({ scope, audit: [auditEntry("of the first")] });
        await second.commit({ scope, audit: [auditEntry("of the second")] });
      }
      heads.push(first.auditHead(), second.auditHead());
    }
    await using store = await open(folder.path);
    expect(store.auditHead()).toBeNull();
    const rows = await all(store.audit());
    expect(rows.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    expect(
      heads.every((head) =>
        rows.some(({ writer, seq, hash }) => writer === head?.writer && seq === head.seq && hash === head.hash),
      ),
    ).toBe(true);
    expect((await readChains(store)).broken).toEqual([]);
  });

  test("comes whole when there are thousands of rows, whatever they hold", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, audit: Array.from({ length: 1_234 }, (_, index) => auditEntry(String(index))) });
    expect((await readChains(store)).callIds).toHaveLength(1_234);
    const kept: AuditEntry[] = [];
    await assert(
      asyncProperty(array(entries, { maxLength: 4 }), async (audit) => {
        await store.commit({ scope, audit });
        kept.push(...audit);
      }),
      { numRuns: slowCases },
    );
    const rows = await all(store.audit());
    expect(rows.slice(1_234).map(({ entry }) => entry)).toEqual(kept);
    expect((await readChains(store)).broken).toEqual([]);
  });
});

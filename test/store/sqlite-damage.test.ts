import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { tempFolder } from "../support/temp.ts";
import { account, all, auditEntry, codeOf, codesOf, oneCall, readChains, said, scope } from "./stores.ts";

const open = (path: string) => openSqliteStore({ path, clock: systemClock });
const put = (key: string) => ({ scope, records: [{ kind: "k", key, value: 1 }] });

/** Changes the file behind the store's back. */
function tamper(path: string, sql: string): void {
  using db = new DatabaseSync(path);
  db.exec(sql);
}

describe("a damaged or changed file", () => {
  test.each([
    ["update events set body = '{}' where seq = 3", 3, "can't be read"],
    ["update events set body = 'no json' where seq = 3", 3, "can't be read"],
    ["delete from events where seq = 2", 2, "is missing"],
    ["delete from events where seq = 1", 1, "is missing"],
    ["update events set seq = 5 where seq = 4", 4, "is missing"],
  ])("names the event: %s", async (sql, seq, what) => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    await store.commit({ scope, runId: "r", afterSeq: 0, events: ["a", "b", "c", "d"].map(said) });
    await store.commit({ scope, runId: "whole", afterSeq: 0, events: [said("a")] });
    tamper(path, sql.replace("where", "where run = 'r' and"));
    const reading = all(store.events(scope, "r"));
    await expect(reading).rejects.toMatchObject({ code: "run.corrupt", details: { runId: "r", seq } });
    await expect(reading).rejects.toThrow(`Event ${seq} of run r ${what}`);
    expect(await all(store.events(scope, "whole"))).toHaveLength(1);
  });

  test.each([
    ["first", 1, "update events set body = 'no json' where run = 'r' and seq = 1"],
    ["last", 3, "update events set body = '{}' where run = 'r' and seq = 3"],
    ["first, whose text is gone,", 1, "delete from blobs"],
  ] as const)("lists a run whose %s event can't be read among the others, and says so", async (_, seq, sql) => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    await store.commit({ scope, runId: "whole", afterSeq: 0, events: [said("a")] });
    await store.commit({ scope, runId: "r", afterSeq: 0, events: [said("a".repeat(10_000)), said("b"), said("c")] });
    expect((await store.runs(scope, 9)).map(({ damage }) => damage)).toEqual([undefined, undefined]);
    tamper(path, sql);
    const runs = new Map((await store.runs(scope, 9)).map((run) => [run.runId, run]));
    expect(runs.get("whole")).toMatchObject({ first: said("a"), last: said("a") });
    const damage = expect.stringContaining(`Event ${seq} of run r can't be read`);
    expect(runs.get("r")).toMatchObject({
      damage,
      startedAt: expect.any(Number),
      [seq === 1 ? "first" : "last"]: null,
    });
    expect(runs.get("r")?.[seq === 1 ? "last" : "first"]).toMatchObject({ type: "input.received" });
  });

  test.each([
    ["an edited row", `update audit set entry = replace(entry, '"allow"', '"deny"') where id & 7 = 3`, " 3"],
    ["a row hashed anew", `update audit set hash = '${"a".repeat(64)}' where id & 7 = 3`, " 3, 4"],
    ["a removed row", "delete from audit where id & 7 = 2", " 3"],
    [
      "two rows that changed places",
      "update audit set entry = (select entry from audit where id & 7 = 4) where id & 7 = 3",
      " 3",
    ],
    ["a removed first row", "delete from audit where id & 7 = 1", " 2"],
  ])("shows in the audit chain: %s", async (_, sql, places) => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    for (const callId of ["a", "b", "c", "d", "e"]) await store.commit({ scope, audit: [auditEntry(callId)] });
    expect((await readChains(store)).broken).toEqual([]);
    tamper(path, sql);
    const writer = store.auditHead()?.writer;
    expect((await readChains(store)).broken).toEqual(
      places
        .trim()
        .split(", ")
        .map((seq) => `${writer} ${seq}`),
    );
  });

  test.each([
    ["update audit set entry = 'no json' where id & 7 = 2"],
    [`update audit set entry = '{"added":1,' || substr(entry, 2) where id & 7 = 2`],
    ["delete from audit_writers"],
  ])("breaks the audit log where a row is not what was written: %s", async (sql) => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    for (const callId of ["a", "b", "c"]) await store.commit({ scope, audit: [auditEntry(callId)] });
    tamper(path, sql);
    expect(await codeOf(all(store.audit()))).toBe("audit.broken");
    expect(await codeOf(store.commit(put("a")))).toBe("done");
  });

  test("fails the commits that wait together when a statement fails, and no later ones", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    const audited = { scope, audit: [auditEntry("a")] };
    tamper(path, "alter table records rename to hidden");
    expect(await codesOf([store.commit(audited), store.commit(put("a"))])).toEqual({ "store.corrupt": 2 });
    expect(await codeOf(store.commit(audited))).toBe("done");
    tamper(path, "alter table hidden rename to records");
    expect(await codeOf(store.commit({ ...audited, ...put("a") }))).toBe("done");
    expect(await readChains(store)).toEqual({ callIds: ["a", "a"], broken: [] });
  });

  test.each([
    ["records", "update records set value = 'no json'", "store.corrupt"],
    ["ledger", "update calls set reserved = '{\"gold\":1}'", "store.corrupt"],
  ] as const)("gives a typed error from the %s", async (kind, sql, code) => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    const settle = { callId: "c", amounts: {}, outcome: "done" as const };
    await store.commit({ ...put("a"), charges: [oneCall("c", account("g"))] });
    tamper(path, sql);
    const reads = {
      records: () => store.record(scope, "k", "a"),
      ledger: () => store.commit({ scope, settles: [settle] }),
    };
    expect(await codeOf(reads[kind]())).toBe(code);
  });

  test.each(["{}", "no json", '{"type":"cancel"}'])(
    "gives the inputs beside one that can't be read: %s",
    async (input) => {
      await using folder = await tempFolder();
      const path = join(folder.path, "state.db");
      await using store = await open(path);
      const cancel = (reason: string) => ({ runId: "r", input: { type: "cancel" as const, reason } });
      await store.commit({ scope, inbox: [cancel("a"), cancel("b"), cancel("c")] });
      using db = new DatabaseSync(path);
      db.prepare("update inbox set input = ? where id = 2").run(input);
      const items = await store.inbox(scope, "r");
      expect(items.map((item) => item.input)).toEqual([cancel("a").input, null, cancel("c").input]);
      expect(await codeOf(store.commit({ scope, taken: items.map(({ id }) => id) }))).toBe("done");
      expect(await store.inbox(scope, "r")).toEqual([]);
    },
  );
});

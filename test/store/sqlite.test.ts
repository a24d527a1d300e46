import { chmod, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
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

describe("openSqliteStore()", () => {
  test("makes files that only their owner may read, and takes others' rights to a file that is there", async () => {
    await using folder = await tempFolder();
    await writeFile(join(folder.path, "old.db"), "", { mode: 0o644 });
    await chmod(join(folder.path, "old.db"), 0o666);
    for (const name of ["new.db", "old.db"]) {
      await using store = await open(join(folder.path, name));
      await store.commit(put("a"));
      const files = (await readdir(folder.path)).filter((file) => file.startsWith(name));
      expect(files).toHaveLength(3);
      for (const file of files) expect((await stat(join(folder.path, file))).mode & 0o777).toBe(0o600);
    }
  });

  test("finds everything again that was there", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    let hash = "";
    {
      await using store = await open(path);
      await store.commit({
        ...put("a"),
        runId: "r",
        afterSeq: 0,
        events: [said("x")],
        charges: [oneCall("c", account("g"))],
        audit: [auditEntry("c")],
        inbox: [{ runId: "r", input: { type: "cancel", reason: "x" } }],
      });
      hash = await store.putBlob(Buffer.from("bytes"));
    }
    await using store = await open(path);
    expect(await all(store.events(scope, "r"))).toHaveLength(1);
    expect(await store.record(scope, "k", "a")).toMatchObject({ value: 1 });
    expect((await store.used(["g"])).get("g")).toEqual({ calls: 1 });
    expect(await store.inbox(scope, "r")).toHaveLength(1);
    expect(await readChains(store)).toEqual({ callIds: ["c"], broken: [] });
    expect(await store.blob(hash)).toEqual(new Uint8Array(Buffer.from("bytes")));
  });

  test("refuses a file of a newer Capstan and leaves it as it is", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    tamper(path, "pragma user_version = 99; create table theirs (x)");
    const opening = open(path);
    await expect(opening).rejects.toMatchObject({ code: "store.newer" });
    await expect(opening).rejects.toThrow(
      /has schema version 99, and this Capstan knows versions up to \d+\. Update Capstan/,
    );
    using db = new DatabaseSync(path);
    expect(db.prepare("select name from sqlite_schema").all()).toMatchObject([{ name: "theirs" }]);
    expect(db.prepare("pragma journal_mode").get()).toMatchObject({ journal_mode: "delete" });
  });

  test("says what is wrong with a file that is no store, and with a place where none can be", async () => {
    await using folder = await tempFolder();
    const path = (name: string): string => join(folder.path, name);
    await writeFile(path("text.db"), "This is no database, however long it is. ".repeat(100));
    await mkdir(path("folder.db"));
    tamper(path("other.db"), "pragma user_version = 1; create table something_else (x)");
    expect(await codeOf(open(path("text.db")))).toBe("store.corrupt");
    expect(await codeOf(open(path("other.db")))).toBe("store.corrupt");
    expect(await codeOf(open(path("folder.db")))).toBe("store.unavailable");
    await expect(open(path("none/state.db"))).rejects.toThrow("Its folder must exist");
  });

  test("refuses to work when it was closed, and closes twice without harm", async () => {
    await using folder = await tempFolder();
    const store = await open(join(folder.path, "state.db"));
    const waiting = store.commit(put("a"));
    const reading = store.audit();
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    expect(await codeOf(waiting)).toBe("done");
    expect(await codeOf(store.commit(put("b")))).toBe("store.unavailable");
    expect(await codeOf(store.record(scope, "k", "a"))).toBe("store.unavailable");
    expect(await codeOf(all(reading))).toBe("store.unavailable");
    expect(await codeOf(all(store.events(scope, "r")))).toBe("store.unavailable");
  });
});

describe("a lock that another process holds", () => {
  test("is waited for while the event loop goes on", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    using other = new DatabaseSync(path);
    other.exec("begin immediate");
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 5);
    const commits = [store.commit(put("a")), store.commit(put("b"))];
    await sleep(600);
    expect(await store.record(scope, "k", "a")).toBeNull();
    other.exec("commit");
    expect(await codesOf(commits)).toEqual({ done: 2 });
    clearInterval(timer);
    expect(longest).toBeLessThan(400);
  });

  test("gives store.unavailable after five seconds, and the next commit may succeed", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    using other = new DatabaseSync(path);
    other.exec("begin immediate");
    const start = performance.now();
    expect(await codeOf(store.commit(put("a")))).toBe("store.unavailable");
    expect(performance.now() - start).toBeGreaterThan(4_900);
    other.exec("commit");
    expect(await codeOf(store.commit(put("b")))).toBe("done");
    expect(await store.records(scope, "k")).toMatchObject([{ key: "b" }]);
  });
});

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
    ["inbox", "update inbox set input = '{}'", "run.corrupt"],
  ] as const)("gives a typed error from the %s", async (kind, sql, code) => {
    await using folder = await tempFolder();
    const path = join(folder.path, "state.db");
    await using store = await open(path);
    const settle = { callId: "c", amounts: {}, outcome: "done" as const };
    await store.commit({
      ...put("a"),
      charges: [oneCall("c", account("g"))],
      inbox: [{ runId: "r", input: { type: "cancel", reason: "x" } }],
    });
    tamper(path, sql);
    const reads = {
      records: () => store.record(scope, "k", "a"),
      ledger: () => store.commit({ scope, settles: [settle] }),
      inbox: () => store.inbox(scope, "r"),
    };
    expect(await codeOf(reads[kind]())).toBe(code);
  });
});

import { chmod, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { tempFolder } from "../support/temp.ts";
import { account, all, auditEntry, codeOf, oneCall, readChains, said, scope } from "./stores.ts";

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

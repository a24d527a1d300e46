import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf, codesOf, scope } from "./stores.ts";

const open = (path: string) => openSqliteStore({ path, clock: systemClock });
const put = (key: string) => ({ scope, records: [{ kind: "k", key, value: 1 }] });

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
    expect(longest).toBeLessThan(2_000);
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

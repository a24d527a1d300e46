import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { openGroupCommit } from "../../src/store/group-commit.ts";
import type { Transaction } from "../../src/store/group-commit.ts";
import { codeOf, codesOf } from "./stores.ts";

/** A transaction over a list: what was written is kept when it commits. */
function listTransaction(over: Partial<Transaction> = {}) {
  const kept: string[] = [];
  const log: string[] = [];
  let open: string[] = [];
  const transaction: Transaction = {
    begin(power) {
      open = [];
      log.push(power ? "begin power" : "begin");
    },
    commit() {
      kept.push(...open);
      log.push("commit");
    },
    rollback: () => void log.push("rollback"),
    translate: (thrown) => thrown,
    ...over,
  };
  const writing = (name: string, power = false) => ({ power, plan: () => () => void open.push(name) });
  return { kept, log, transaction, writing };
}

const refusing = {
  power: false,
  plan: () => {
    throw new CapstanError("budget.calls", "no");
  },
};

describe("openGroupCommit()", () => {
  test("lets commits of one turn share a transaction, and later ones have their own", async () => {
    const { kept, log, transaction, writing } = listTransaction();
    const commits = openGroupCommit(transaction);
    await Promise.all(["a", "b", "c"].map((name) => commits.add(writing(name))));
    await commits.add(writing("d"));
    expect(kept).toEqual(["a", "b", "c", "d"]);
    expect(log).toEqual(["begin", "commit", "begin", "commit"]);
  });

  test("asks for power when one of the group does", async () => {
    const { log, transaction, writing } = listTransaction();
    const commits = openGroupCommit(transaction);
    await Promise.all([commits.add(writing("a")), commits.add(writing("b", true))]);
    await commits.add(writing("c"));
    expect(log).toEqual(["begin power", "commit", "begin", "commit"]);
  });

  test("refuses one without disturbing its neighbours", async () => {
    const { kept, transaction, writing } = listTransaction();
    const commits = openGroupCommit(transaction);
    const ends = [writing("a"), refusing, writing("b"), refusing].map((work) => commits.add(work));
    expect(await codesOf(ends)).toEqual({ done: 2, "budget.calls": 2 });
    expect(kept).toEqual(["a", "b"]);
  });

  test("rejects all when the transaction fails, the refused too, and goes on", async () => {
    let failing = true;
    const { log, transaction, writing } = listTransaction({
      translate: () => new CapstanError("store.full", "full"),
    });
    const commits = openGroupCommit({
      ...transaction,
      commit() {
        if (failing) throw new Error("disk");
        transaction.commit();
      },
    });
    expect(await codesOf([writing("a"), refusing, writing("b")].map((work) => commits.add(work)))).toEqual({
      "store.full": 3,
    });
    expect(log).toEqual(["begin", "rollback"]);
    failing = false;
    expect(await codeOf(commits.add(writing("c")))).toBe("done");
  });

  test("splits a long queue, and refuses what is beyond 10,000", async () => {
    const { kept, log, transaction, writing } = listTransaction();
    const commits = openGroupCommit(transaction);
    const ends = Array.from({ length: 10_005 }, (_, index) => commits.add(writing(String(index))));
    expect(await codesOf(ends)).toEqual({ done: 10_000, "store.unavailable": 5 });
    expect(kept).toHaveLength(10_000);
    expect(log.filter((line) => line === "commit").length).toBeGreaterThan(30);
  });

  test("leaves the event loop its turns between groups", async () => {
    const { transaction, writing } = listTransaction();
    const commits = openGroupCommit(transaction);
    const turns: number[] = [];
    const timer = setInterval(() => turns.push(performance.now()), 1);
    for (let count = 0; count < 200_000 && turns.length < 3; count += 1) await commits.add(writing("x"));
    clearInterval(timer);
    expect(turns).toHaveLength(3);
  });

  test("finishes what waits when it closes, and refuses what comes after", async () => {
    const { kept, transaction, writing } = listTransaction();
    const commits = openGroupCommit(transaction);
    const ends = Array.from({ length: 600 }, (_, index) => commits.add(writing(String(index))));
    const closing = commits.close();
    expect(await codeOf(commits.add(writing("late")))).toBe("store.unavailable");
    await closing;
    expect(kept).toHaveLength(600);
    expect(await codesOf(ends)).toEqual({ done: 600 });
  });
});

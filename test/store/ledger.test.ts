import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import type { Amounts, Limits } from "../../src/core/limits.ts";
import type { Charge, Settle, Store } from "../../src/store/store.ts";
import { tempFolder } from "../support/temp.ts";
import { account, codeOf, codesOf, oneCall, scope, stores } from "./stores.ts";

const charge = (
  callId: string,
  amounts: Amounts,
  accounts: Record<string, Limits>,
): { scope: typeof scope; charges: Charge[] } => ({
  scope,
  charges: [
    { callId, amounts, at: 1, accounts: Object.entries(accounts).map(([grantId, limits]) => ({ grantId, limits })) },
  ],
});
const settle = (callId: string, amounts: Amounts, outcome: Settle["outcome"] = "done") => ({
  scope,
  settles: [{ callId, amounts, outcome }],
});
const usedBy = async (store: Store, grantId: string): Promise<Amounts> =>
  (await store.used([grantId])).get(grantId) ?? { calls: -1 };

describe.each(stores)("charges in $name", ({ open }) => {
  test("add up on every account until one is at its cap, and then leave all as they are", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const accounts = { root: { calls: 10 }, mid: { calls: 2 }, leaf: {} };
    await store.commit(charge("c1", { calls: 1, tokens: 7 }, accounts));
    await store.commit(charge("c2", { calls: 1 }, accounts));
    expect(await codeOf(store.commit(charge("c3", { calls: 1 }, accounts)))).toBe("budget.calls");
    expect(await store.used(["root", "mid", "leaf", "never charged"])).toEqual(
      new Map([
        ["root", { calls: 2, tokens: 7 }],
        ["mid", { calls: 2, tokens: 7 }],
        ["leaf", { calls: 2, tokens: 7 }],
        ["never charged", {}],
      ]),
    );
  });

  test.each([
    ["calls", "budget.calls"],
    ["tokens", "budget.tokens"],
    ["costMicroUsd", "budget.cost"],
    ["cpuMs", "budget.cpu"],
    ["wallMs", "budget.wall"],
    ["bytes", "budget.bytes"],
  ] as const)("hold the cap of %s to the last unit", async (counter, code) => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const cap = { [counter]: 5 };
    expect(await codeOf(store.commit(charge("a", { [counter]: 6 }, { g: cap })))).toBe(code);
    expect(await codeOf(store.commit(charge("b", { [counter]: 3 }, { g: cap })))).toBe("done");
    expect(await codeOf(store.commit(charge("c", { [counter]: 3 }, { g: cap })))).toBe(code);
    expect(await codeOf(store.commit(charge("d", { [counter]: 2 }, { g: cap })))).toBe("done");
    expect(await codeOf(store.commit(charge("e", { [counter]: 1 }, { g: cap })))).toBe(code);
    expect(await codeOf(store.commit(charge("f", {}, { g: cap })))).toBe("done");
    expect(await usedBy(store, "g")).toEqual({ [counter]: 5 });
  });

  test("are refused by an account that allows nothing", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    expect(await codeOf(store.commit(charge("a", { tokens: 1 }, { g: { tokens: 0 } })))).toBe("budget.tokens");
    expect(await codeOf(store.commit(charge("b", { calls: 1 }, { g: { tokens: 0 } })))).toBe("done");
  });

  test("say which counter of which grant is used up", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit(charge("a", { calls: 3 }, { grant_7: { calls: 4 } }));
    const refused = store.commit(charge("b", { calls: 2 }, { grant_7: { calls: 4 } }));
    await expect(refused).rejects.toThrow("Grant grant_7 has used 3/4 calls and this call needs 2 more.");
    await expect(refused).rejects.toMatchObject({
      details: { grantId: "grant_7", counter: "calls", used: 3, cap: 4, asked: 2 },
    });
  });

  test("count once per call id, however often and by whomever they are made", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const once = charge("same", { calls: 1 }, { g: { calls: 1 } });
    expect(await codesOf([store.commit(once), store.commit(once), store.commit(once)])).toEqual({ done: 3 });
    await store.commit({ scope, charges: [...once.charges, ...once.charges] });
    await store.commit(charge("same", { calls: 1 }, { g: { calls: 1 }, other: {} }));
    await store.commit(settle("same", { calls: 1 }));
    await store.commit(once);
    expect(await usedBy(store, "g")).toEqual({ calls: 1 });
    expect(await usedBy(store, "other")).toEqual({});
    expect(await codeOf(store.commit(charge("new", { calls: 1 }, { g: { calls: 1 } })))).toBe("budget.calls");
  });

  test("of one batch are taken together or not at all", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const batch = (...callIds: string[]) => ({ scope, charges: callIds.map((id) => oneCall(id, account("g", 3))) });
    expect(await codeOf(store.commit(batch("a", "b", "c", "d")))).toBe("budget.calls");
    expect(await usedBy(store, "g")).toEqual({});
    expect(await codeOf(store.commit(batch("a", "b", "c")))).toBe("done");
    expect(await usedBy(store, "g")).toEqual({ calls: 3 });
  });

  test("charge an account once that is named twice, and hold the lower of its caps", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const twice = (callId: string) => oneCall(callId, account("g", 9), account("g", 1));
    expect(
      await codesOf([store.commit({ scope, charges: [twice("a")] }), store.commit({ scope, charges: [twice("b")] })]),
    ).toEqual({
      done: 1,
      "budget.calls": 1,
    });
    expect(await usedBy(store, "g")).toEqual({ calls: 1 });
  });

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])("refuse an amount of %d", async (amount) => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    expect(await codeOf(store.commit(charge("a", { tokens: amount }, { g: {} })))).toBe("budget.bad_amount");
    await store.commit(charge("b", { tokens: 5 }, { g: {} }));
    expect(await codeOf(store.commit(settle("b", { tokens: amount })))).toBe("budget.bad_amount");
    expect(await usedBy(store, "g")).toEqual({ tokens: 5 });
  });

  test("never count beyond what can be counted exactly", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const most = Number.MAX_SAFE_INTEGER;
    await store.commit(charge("a", { bytes: most }, { g: {} }));
    expect(await codeOf(store.commit(charge("b", { bytes: 1 }, { g: {} })))).toBe("budget.bytes");
    await store.commit(charge("c", { calls: 1 }, { g: {} }));
    await store.commit(settle("c", { bytes: most }));
    expect(await usedBy(store, "g")).toEqual({ bytes: most });
  });
});

describe.each(stores)("settling in $name", ({ open }) => {
  test("replaces what was reserved by what was used, on every account", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit(charge("c", { calls: 1, tokens: 100, cpuMs: 50 }, { root: {}, leaf: { tokens: 100 } }));
    await store.commit(settle("c", { calls: 1, tokens: 30, bytes: 9 }));
    for (const grantId of ["root", "leaf"])
      expect(await usedBy(store, grantId)).toEqual({ calls: 1, tokens: 30, bytes: 9 });
  });

  test("may go beyond a cap, and then the account allows nothing more", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit(charge("c", { tokens: 10 }, { g: { tokens: 100 } }));
    await store.commit(settle("c", { tokens: 130 }, "error"));
    expect(await usedBy(store, "g")).toEqual({ tokens: 130 });
    expect(await codeOf(store.commit(charge("d", { tokens: 1 }, { g: { tokens: 100 } })))).toBe("budget.tokens");
    expect(await codeOf(store.commit(charge("e", { calls: 1 }, { g: { tokens: 100 } })))).toBe("budget.tokens");
    expect(await codeOf(store.commit(charge("f", { calls: 1 }, { g: { tokens: 130 } })))).toBe("done");
  });

  test("keeps the reservation of an unknown outcome, and what is known to be used beyond it", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit(charge("c", { calls: 1, tokens: 100, cpuMs: 10 }, { g: {} }));
    await store.commit(settle("c", { cpuMs: 40, tokens: 3 }, "unknown"));
    expect(await usedBy(store, "g")).toEqual({ calls: 1, tokens: 100, cpuMs: 40 });
  });

  test("counts once: a later one changes nothing, in the same batch too", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit(charge("c", { tokens: 100 }, { g: {} }));
    const settles = [...settle("c", { tokens: 60 }).settles, ...settle("c", { tokens: 0 }).settles];
    await store.commit({ scope, settles });
    await store.commit(settle("c", { tokens: 0 }));
    await store.commit(settle("c", { tokens: 0 }, "unknown"));
    expect(await usedBy(store, "g")).toEqual({ tokens: 60 });
  });

  test("may stand in the batch of its charge", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ ...charge("c", { tokens: 100 }, { g: {} }), ...settle("c", { tokens: 60 }) });
    await store.commit(settle("c", { tokens: 0 }));
    expect(await usedBy(store, "g")).toEqual({ tokens: 60 });
  });

  test("refuses a call that was never charged, with all of its batch", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const batch = { ...charge("c", { calls: 1 }, { g: {} }), ...settle("other", { calls: 0 }) };
    await expect(store.commit(batch)).rejects.toThrow(CapstanError);
    expect(await codeOf(store.commit(batch))).toBe("store.not_found");
    expect(await usedBy(store, "g")).toEqual({});
  });
});

import { describe, expect, test } from "vitest";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { toCharge } from "../../src/permissions/ledger.ts";
import { meet } from "../../src/permissions/meet.ts";
import { codeOfAsync, openTestHome, root, sameAs, scope, start, t0, t1, t2 } from "./grants.ts";

type Home = Awaited<ReturnType<typeof openTestHome>>;

const charge = (home: Home, grant: Grant, callId: string, amounts: { calls?: number; tokens?: number } = {}) =>
  codeOfAsync(() => home.store.commit({ scope, charges: [toCharge(grant, callId, amounts, start)] }));

const usedCalls = async (home: Home, ...ids: string[]): Promise<number[]> => {
  const used = await home.store.used(ids);
  return ids.map((id) => used.get(id)?.calls ?? 0);
};

const count = (codes: readonly string[], code: string): number => codes.filter((one) => one === code).length;

describe("toCharge()", () => {
  test("names the grant and all its ancestors with their own limits, in the order of their ids", () => {
    expect(toCharge(t2, "c", { tokens: 5 }, start)).toEqual({
      callId: "c",
      accounts: [
        { grantId: "t0", limits: t0.limits },
        { grantId: "t1", limits: t1.limits },
        { grantId: "t2", limits: t2.limits },
      ],
      amounts: { calls: 1, tokens: 5 },
      at: start,
    });
    const late = derive(root({}, { id: "z" }), sameAs(root()), { id: "a", now: start });
    expect(toCharge(late, "c", { calls: 0 }, start).accounts.map(({ grantId }) => grantId)).toEqual(["a", "z"]);
    expect(toCharge(late, "c", { calls: 0 }, start).amounts).toEqual({ calls: 0 });
  });

  test("81: the call after the last one is refused, and charges nothing", async () => {
    await using home = await openTestHome();
    for (const callId of ["c1", "c2", "c3"]) expect(await charge(home, t2, callId)).toBe("allow");
    expect(await charge(home, t2, "c4")).toBe("budget.calls");
    expect(await usedCalls(home, "t0", "t1", "t2")).toEqual([3, 3, 3]);
    expect(await charge(home, t1, "c5")).toBe("allow");
  });

  test("83: a call that costs tokens is refused where none are granted", async () => {
    await using home = await openTestHome();
    expect(await charge(home, t2, "c1", { tokens: 1 })).toBe("budget.tokens");
    expect(await charge(home, t1, "c2", { tokens: 1 })).toBe("allow");
  });

  test("50 parallel charges at a limit of 20 are 20", async () => {
    await using home = await openTestHome();
    const codes = await Promise.all(Array.from({ length: 50 }, (_, at) => charge(home, t1, `c${at}`)));
    expect([count(codes, "allow"), count(codes, "budget.calls")]).toEqual([20, 30]);
    expect(await usedCalls(home, "t0", "t1")).toEqual([20, 20]);
  });

  test("B36: 1,000 parallel calls of three generations and two processes at a limit of 20 are 20", async () => {
    await using home = await openTestHome();
    await using other = await openTestHome({ home: home.home });
    const child = derive(t1, { ...sameAs(t1), limits: { ...t1.limits, calls: 15 } }, { id: "a child", now: start });
    const grandchild = derive(child, sameAs(child), { id: "u grandchild", now: start });
    const generations = [t1, child, grandchild];
    const calls = Array.from({ length: 1000 }, (_, at) => {
      const grant = generations[at % 3] ?? t1;
      return charge(at % 2 === 0 ? home : other, grant, `c${at}`);
    });
    const codes = await Promise.all(calls);
    expect([count(codes, "allow"), count(codes, "budget.calls")]).toEqual([20, 980]);
    const [top, middle, below, lowest] = await usedCalls(home, "t0", "t1", "a child", "u grandchild");
    expect([top, middle]).toEqual([20, 20]);
    expect(below).toBeLessThanOrEqual(15);
    expect(lowest).toBeLessThanOrEqual(below ?? 0);
  });

  test("a grant that two others meet in is charged on both, and stops where the first of them does", async () => {
    await using home = await openTestHome();
    const three = root({}, { id: "three", limits: { calls: 3 } });
    const met = meet(t1, three, { now: start });
    const codes = await Promise.all(Array.from({ length: 10 }, (_, at) => charge(home, met, `c${at}`)));
    expect(count(codes, "allow")).toBe(3);
    expect(await usedCalls(home, "t0", "t1", "three")).toEqual([3, 3, 3]);
    expect(await charge(home, three, "c10")).toBe("budget.calls");
    expect(await charge(home, t1, "c11")).toBe("allow");
  });
});

import { array, assert, asyncProperty, constantFrom, nat, record, subarray } from "fast-check";
import { describe, expect, test } from "vitest";
import type { Amounts } from "../../src/core/limits.ts";
import { slowCases } from "../support/cases.ts";
import { tempFolder } from "../support/temp.ts";
import { account, codeOf, codesOf, oneCall, said, scope, stores } from "./stores.ts";

describe.each(stores)("parallel charges in $name", ({ open }) => {
  test("are exactly 20 of 50 at a limit of 20", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const charges = Array.from({ length: 50 }, (_, index) =>
      store.commit({ scope, charges: [oneCall(`c${index}`, account("g", 20))] }),
    );
    expect(await codesOf(charges)).toEqual({ done: 20, "budget.calls": 30 });
    expect((await store.used(["g"])).get("g")).toEqual({ calls: 20 });
  });

  test("on three ancestors in mixed order are exactly as many as the tightest allows, and the others charge nobody", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const accounts = [account("root", 40), account("mid", 20), account("leaf", 30)];
    const charges = Array.from({ length: 1_000 }, (_, index) => {
      const turned = [...accounts.slice(index % 3), ...accounts.slice(0, index % 3)];
      return store.commit({ scope, charges: [oneCall(`c${index}`, ...turned)] });
    });
    expect(await codesOf(charges)).toEqual({ done: 20, "budget.calls": 980 });
    expect(await store.used(["root", "mid", "leaf"])).toEqual(
      new Map([
        ["root", { calls: 20 }],
        ["mid", { calls: 20 }],
        ["leaf", { calls: 20 }],
      ]),
    );
  });

  test("of two stores in turns see what the other has charged, settled and written", async () => {
    await using folder = await tempFolder();
    await using first = await open(folder.path);
    await using second = await open(folder.path);
    const charge = (callId: string) => ({ scope, charges: [oneCall(callId, account("g", 2))] });
    await first.commit({ ...charge("a"), runId: "r", afterSeq: 0, events: [said("one")] });
    await second.commit({ ...charge("b"), runId: "r", afterSeq: 1, events: [said("two")] });
    expect(await codeOf(first.commit(charge("c")))).toBe("budget.calls");
    expect(await codeOf(first.commit({ scope, runId: "r", afterSeq: 1, events: [said("three")] }))).toBe(
      "store.conflict",
    );
    await second.commit({ scope, settles: [{ callId: "a", amounts: {}, outcome: "error" }] });
    await first.commit({ scope, settles: [{ callId: "a", amounts: { calls: 1 }, outcome: "done" }] });
    expect((await first.used(["g"])).get("g")).toEqual({ calls: 1 });
    await first.commit({ ...charge("c"), runId: "r", afterSeq: 2, events: [said("three")] });
    expect((await second.used(["g"])).get("g")).toEqual({ calls: 2 });
  });

  test("through two stores on the same state hold the same cap", async () => {
    await using folder = await tempFolder();
    await using first = await open(folder.path);
    await using second = await open(folder.path);
    const charges = Array.from({ length: 200 }, (_, index) =>
      (index % 2 === 0 ? first : second).commit({ scope, charges: [oneCall(`c${index}`, account("g", 50))] }),
    );
    expect(await codesOf(charges)).toEqual({ done: 50, "budget.calls": 150 });
    expect((await second.used(["g"])).get("g")).toEqual({ calls: 50 });
  });
});

const grants = ["root", "left", "right"] as const;
const caps = { root: { calls: 9, tokens: 60 }, left: { calls: 6 }, right: { tokens: 25, cpuMs: 10 } } as const;
type Counts = Record<"calls" | "tokens" | "cpuMs", number>;
const counters = ["calls", "tokens", "cpuMs"] as const;

const amounts = record({ calls: nat(2), tokens: nat(20), cpuMs: nat(6) });
const callIds = constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
const charging = record({
  type: constantFrom("charge" as const),
  callId: callIds,
  grants: subarray([...grants], { minLength: 1 }),
  amounts,
});
const settling = record({
  type: constantFrom("settle" as const),
  callId: callIds,
  amounts,
  outcome: constantFrom("done" as const, "error" as const, "unknown" as const),
});

describe.each(stores)("the ledger in $name", ({ open }) => {
  test("equals a plain sum after any interleaving of charges and settles", async () => {
    const steps = array(
      array(record({ charges: array(charging, { maxLength: 2 }), settles: array(settling, { maxLength: 2 }) }), {
        maxLength: 6,
      }),
      { maxLength: 6 },
    );
    await assert(
      asyncProperty(steps, async (rounds) => {
        await using folder = await tempFolder();
        await using store = await open(folder.path);
        let model = emptyModel();
        for (const round of rounds) {
          // Commits of a round wait together and are decided in the order of their making.
          const expected: string[] = [];
          const ends = round.map((batch) => {
            const next = structuredClone(model);
            const code = apply(next, batch);
            if (code === "done") model = next;
            expected.push(code);
            return codeOf(
              store.commit({
                scope,
                charges: batch.charges.map(({ callId, grants: ids, amounts: asked }) => ({
                  callId,
                  amounts: asked,
                  at: 1,
                  accounts: ids.map((grantId) => ({ grantId, limits: caps[grantId] })),
                })),
                settles: batch.settles,
              }),
            );
          });
          expect(await Promise.all(ends)).toEqual(expected);
        }
        const used = await store.used(grants);
        for (const grantId of grants) {
          for (const counter of counters) expect(used.get(grantId)?.[counter] ?? 0).toBe(model.used[grantId][counter]);
        }
      }),
      { numRuns: slowCases },
    );
  });
});

interface Model {
  readonly used: Record<(typeof grants)[number], Counts>;
  readonly calls: Map<string, { grants: readonly (typeof grants)[number][]; reserved: Counts; settled: boolean }>;
}

function emptyModel(): Model {
  const zero = { calls: 0, tokens: 0, cpuMs: 0 };
  return { used: { root: { ...zero }, left: { ...zero }, right: { ...zero } }, calls: new Map() };
}

interface Step {
  readonly charges: readonly { callId: string; grants: readonly (typeof grants)[number][]; amounts: Counts }[];
  readonly settles: readonly { callId: string; amounts: Counts; outcome: string }[];
}

/** The rules once more, as plainly as they can be said. */
function apply(model: Model, { charges, settles }: Step): string {
  for (const { callId, grants: ids, amounts: asked } of charges) {
    if (model.calls.has(callId)) continue;
    for (const grantId of ids.toSorted()) {
      const cap: Amounts = caps[grantId];
      for (const counter of counters) {
        if (model.used[grantId][counter] + asked[counter] > (cap[counter] ?? Infinity))
          return `budget.${counter === "cpuMs" ? "cpu" : counter}`;
      }
    }
    for (const grantId of ids) for (const counter of counters) model.used[grantId][counter] += asked[counter];
    model.calls.set(callId, { grants: ids, reserved: asked, settled: false });
  }
  for (const { callId, amounts: actual, outcome } of settles) {
    const call = model.calls.get(callId);
    if (call === undefined) return "store.not_found";
    if (call.settled) continue;
    for (const grantId of call.grants) {
      for (const counter of counters) {
        const kept = outcome === "unknown" ? Math.max(actual[counter], call.reserved[counter]) : actual[counter];
        model.used[grantId][counter] += kept - call.reserved[counter];
      }
    }
    model.calls.set(callId, { ...call, settled: true });
  }
  return "done";
}

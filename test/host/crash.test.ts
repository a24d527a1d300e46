import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { localScope } from "../../src/core/scope.ts";
import { toArray } from "../../src/core/sequence.ts";
import type { RunOutcome } from "../../src/host/outcome.ts";
import { slowCases } from "../support/cases.ts";
import { testTool } from "../support/door.ts";
import { dyingAfter } from "./dying.ts";
import type { Turn } from "./scripted.ts";
import { openTestHost, scripted } from "./scripted.ts";

const effects = ["read", "idempotent", "once"] as const;

/** Runs a script in a process that dies after each of `lives` commits in turn, and once more to the end. */
async function live(turns: readonly Turn[], lives: readonly number[]) {
  const ran = new Map<string, { readonly effect: string; times: number }>();
  const tools = effects.map((effect) =>
    testTool(effect, {
      effect,
      run: async ({ text }, { callId }) => {
        const entry = ran.get(callId) ?? { effect, times: 0 };
        ran.set(callId, { effect, times: entry.times + 1 });
        return { type: "done", value: `${effect} ${text}`, taint: [effect] };
      },
    }),
  );
  await using at = await openTestHost({ tools, provider: scripted(turns) });
  const signal = new AbortController().signal;
  const asked = new Map<string, number>();
  const deaths = [...lives];
  let outcome: RunOutcome | undefined;
  while (outcome === undefined || outcome.status === "suspended") {
    const commits = deaths.shift() ?? Infinity;
    const host = at.open(dyingAfter(at.store, commits));
    const [begun] = await at.store.runs(localScope, 1);
    try {
      outcome =
        begun === undefined
          ? await host.start({ task: "go", model: "scripted", grant: at.grant, signal })
          : await host.resume(begun.runId, { grant: at.grant, signal });
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: "store.unavailable" });
      outcome = undefined;
      continue;
    }
    for (const { callId, name } of outcome.pending) {
      expect(name).toBe("once");
      asked.set(callId, (asked.get(callId) ?? 0) + 1);
      await at.host.approve(outcome.runId, callId, at.grant);
    }
  }
  const { run } = await at.host.load(outcome.runId);
  const seen = toArray(run.messages).map((message) => ("outcome" in message ? message.outcome : message.role));
  const used = (await at.store.used([at.grant.id])).get(at.grant.id);
  return { outcome, asked, ran, seen, run, used, faults: at.faults };
}

/** What must hold after any number of deaths; says how often a person was asked. */
async function check(turns: readonly Turn[], lives: readonly number[]): Promise<number> {
  const smooth = await live(turns, []);
  const rough = await live(turns, lives);
  const { status, answer, toolCalls } = smooth.outcome;
  expect(status).toBe("done");
  expect(rough.outcome).toMatchObject({ status, answer, toolCalls });
  expect(rough.seen).toEqual(smooth.seen);
  expect(rough.run.taint).toEqual(smooth.run.taint);
  expect(rough.used?.calls).toBe(smooth.used?.calls);
  expect(rough.ran.size).toBe(smooth.ran.size);
  const harmful = [...rough.ran].filter(([, { effect }]) => effect === "once");
  expect(harmful.filter(([callId, { times }]) => times > 1 + (rough.asked.get(callId) ?? 0))).toEqual([]);
  return [...rough.asked.values()].reduce((sum, times) => sum + times, 0);
}

describe("a run whose process dies", () => {
  const turns: readonly Turn[] = [
    { calls: [["once", { text: "a" }]] },
    {
      text: "and",
      calls: [
        ["read", { text: "b" }],
        ["once", { text: "c" }],
        ["idempotent", { text: "d" }],
      ],
    },
    { text: "The end." },
  ];

  test("ends as it would have, wherever it died, and repeats nothing harmful without asking", async () => {
    const asked: number[] = [];
    for (let commits = 0; commits < 30; commits += 1) asked.push(await check(turns, [commits]));
    // Some deaths fall between the start of a harmful call and its end, and some do not.
    expect(new Set(asked)).toEqual(new Set([0, 1]));
    // The last ones come after the end of the run.
    expect(asked.at(-1)).toBe(0);
  });

  test(
    "whatever the script and however often it dies",
    async () => {
      const call = fc.tuple(
        fc.constantFrom(...effects),
        fc.string({ maxLength: 5 }).map((text) => ({ text })),
      );
      const turn = fc.record({ calls: fc.array(call, { minLength: 1, maxLength: 3 }) });
      const script = fc.array(turn, { maxLength: 3 }).map((all): readonly Turn[] => [...all, { text: "The end." }]);
      const lives = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 5 });
      const ends = fc.asyncProperty(script, lives, async (all, deaths) => void (await check(all, deaths)));
      await expect(fc.assert(ends, { numRuns: slowCases })).resolves.toBeUndefined();
    },
    60_000 + 1_000 * slowCases,
  );
});

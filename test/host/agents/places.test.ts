import { setImmediate as tick } from "node:timers/promises";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HostConfig } from "../../../src/host/config.ts";
import type { Places } from "../../../src/host/agents/places.ts";
import { openPlaces } from "../../../src/host/agents/places.ts";
import type { Grant } from "../../../src/permissions/grant.ts";
import { toGrant } from "../../support/door.ts";
import { slowCases } from "../../support/cases.ts";

const outside = toGrant([], 0, 0);
const within = (run: string): Grant => ({ ...outside, run });
const signal = new AbortController().signal;

const open = (runs: number, agents: object, queueMs = 1e9): Places =>
  openPlaces({ runs, queueMs }, HostConfig.parse({ agents }).agents);
const agent = (more: object = {}): object => ({ description: "d", instructions: "i", ...more });

describe("openPlaces()", () => {
  test("lets so many runs go on at a time, the next one when one ends, and says that it waits", async () => {
    const places = open(2, {});
    const one = await places.enter({ runId: "1", agent: undefined }, { grant: outside, signal });
    await places.enter({ runId: "2", agent: undefined }, { grant: outside, signal });
    const told: string[] = [];
    let hasEntered = false;
    const onSignal = (said: object): void => void told.push(JSON.stringify(said));
    const third = places.enter({ runId: "3", agent: undefined }, { grant: outside, signal, onSignal });
    void third.then(() => (hasEntered = true));
    await tick();
    expect([hasEntered, told]).toEqual([false, [expect.stringContaining("2 is the most of runs at a time")]]);
    one[Symbol.dispose]();
    await third;
    expect(hasEntered).toBe(true);
  });

  test("refuses whoever waits too long, and lets go of whoever is told to stop", async () => {
    const places = open(9, { a: agent({ concurrency: 1 }) }, 20);
    const run = (runId: string) => ({ runId, agent: "a" });
    await places.enter(run("1"), { grant: outside, signal });
    await expect(places.enter(run("2"), { grant: outside, signal })).rejects.toMatchObject({
      code: "budget.parallel",
      message: expect.stringContaining("1 is the most of runs of the agent a at a time"),
    });
    const waiting = open(1, {});
    await waiting.enter({ runId: "1", agent: undefined }, { grant: outside, signal });
    for (const key of ["signal", "cancelled"] as const) {
      const ending = new AbortController();
      const over = { grant: outside, signal, [key]: ending.signal };
      const entering = waiting.enter({ runId: "2", agent: undefined }, over);
      ending.abort(new Error("enough"));
      await expect(entering).rejects.toThrow("enough");
    }
  });

  test("lets a run within another in where all places are taken, and to its end what is only ended", async () => {
    const places = open(1, { a: agent({ concurrency: 1 }) });
    await places.enter({ runId: "1", agent: "a" }, { grant: outside, signal });
    await places.enter({ runId: "2", agent: "a" }, { grant: within("1"), signal });
    const cancelled = AbortSignal.abort();
    await places.enter({ runId: "3", agent: "a" }, { grant: outside, signal, cancelled });
    // A run whose place is not here takes one of its own.
    const entering = places.enter({ runId: "4", agent: undefined }, { grant: within("gone"), signal });
    expect(await Promise.race([entering.then(() => "in"), tick("waits")])).toBe("waits");
  });

  test("gives back what was taken where the second place is refused", async () => {
    const places = open(2, { a: agent({ concurrency: 1 }) }, 1);
    const first = await places.enter({ runId: "1", agent: "a" }, { grant: outside, signal });
    await expect(places.enter({ runId: "2", agent: "a" }, { grant: outside, signal })).rejects.toThrow("No place");
    await places.enter({ runId: "3", agent: undefined }, { grant: outside, signal });
    first[Symbol.dispose]();
    await places.enter({ runId: "4", agent: "a" }, { grant: outside, signal });
  });
});

/** A run of an agent, and what it starts: some of it at a time, and each of it as a call that the agent lists or not. */
interface Plan {
  readonly agent: number;
  readonly children: readonly Plan[];
}

const names = ["a", "b", "c", "d"];

/** Agents of which each may list only later ones, so that no circle comes to be. */
const someAgents = fc
  .tuple(
    ...names.map((_, index) =>
      fc.record(
        {
          concurrency: fc.integer({ min: 1, max: 2 }),
          agents: fc.subarray(names.slice(index + 1)),
        },
        { requiredKeys: ["agents"] },
      ),
    ),
  )
  .map((all) => Object.fromEntries(all.map((more, index) => [names[index], agent(more)])));

/** Plans of so many levels. */
function plansOf(levels: number): fc.Arbitrary<Plan> {
  const children = levels === 1 ? fc.constant([]) : fc.array(plansOf(levels - 1), { maxLength: 2 });
  return fc.record({ agent: fc.integer({ min: 0, max: names.length }), children });
}

/** Performs plans on places. Gives how many went on at a time of each kind, who is left, and what was refused outside of all runs. */
async function performAll(plans: readonly Plan[], places: Places) {
  const going = new Map<string, number>();
  const most = new Map<string, number>();
  const refused: unknown[] = [];
  const state = { left: 0, ids: 0 };
  const count = (what: string, by: number): void => {
    const now = (going.get(what) ?? 0) + by;
    going.set(what, now);
    most.set(what, Math.max(most.get(what) ?? 0, now));
  };
  const perform = async (plan: Plan, grant: Grant, around: readonly string[]): Promise<void> => {
    state.left += 1;
    const name = names[plan.agent];
    const runId = `run_${(state.ids += 1)}`;
    const isAgain = name !== undefined && around.includes(name);
    const counted = [...(around.length === 0 ? ["runs"] : []), ...(name === undefined || isAgain ? [] : [name])];
    try {
      using held = new DisposableStack();
      held.use(await places.enter({ runId, agent: name }, { grant, signal }));
      for (const what of counted) count(what, 1);
      await tick();
      const chain = [...around, name ?? "-"];
      await Promise.all(plan.children.map((child) => perform(child, within(runId), chain)));
      for (const what of counted) count(what, -1);
    } catch (thrown) {
      // Within another run one may be refused, so that nobody waits for whom it waits for.
      if (around.length === 0) refused.push(thrown);
    }
    state.left -= 1;
  };
  void Promise.all(plans.map((plan) => perform(plan, outside, [])));
  for (let ticks = 0; state.left > 0 && ticks < 5_000; ticks += 1) await tick();
  return { most, refused, left: state.left };
}

test(
  "no runs wait for each other, whoever starts whom and whatever its place",
  async () => {
    const somePlans = fc.array(plansOf(3), { minLength: 1, maxLength: 6 });
    const ends = fc.asyncProperty(
      someAgents,
      somePlans,
      fc.integer({ min: 1, max: 2 }),
      async (agents, plans, runs) => {
        const { agents: configs } = HostConfig.parse({ agents });
        const { most, refused, left } = await performAll(plans, openPlaces({ runs, queueMs: 1e9 }, configs));
        expect([left, refused]).toEqual([0, []]);
        expect(most.get("runs") ?? 0).toBeLessThanOrEqual(runs);
        for (const [name, { concurrency = Infinity }] of Object.entries(configs)) {
          expect(most.get(name) ?? 0).toBeLessThanOrEqual(concurrency);
        }
      },
    );
    await expect(fc.assert(ends, { numRuns: 10 * slowCases })).resolves.toBeUndefined();
  },
  60_000 + 1_000 * slowCases,
);

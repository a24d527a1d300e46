import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openBucket } from "../../../src/host/policies/pace.ts";
import { pureCases } from "../../support/cases.ts";
import { handClock } from "../../support/clock.ts";
import { ask, faulty, openTestPolicies, simpleRequest } from "./faulty.ts";

const never = new AbortController().signal;

describe("openBucket()", () => {
  test("lets no more through in any span of time than a full bucket and what flows in meanwhile, in order", () => {
    const perMinute = 600;
    const step = fc.record({ afterMs: fc.nat(5_000), amount: fc.integer({ min: 1, max: 700 }) });
    let waited = 0;
    const holds = fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const clock = handClock(0);
      const bucket = openBucket(perMinute, clock);
      const begun: { readonly at: number; readonly amount: number }[] = [];
      for (const { afterMs, amount } of steps) {
        clock.advance(afterMs);
        const waitMs = bucket.take(amount, Infinity);
        if (waitMs === null) throw new Error("nothing is too long to wait for");
        waited += waitMs > 0 ? 1 : 0;
        begun.push({ at: clock() + waitMs, amount });
      }
      for (const [from, first] of begun.entries()) {
        // What is larger than the bucket begins once that is full, so the last one may leave it owing.
        let sum = 0;
        for (const { at, amount } of begun.slice(from)) {
          expect(at).toBeGreaterThanOrEqual(first.at - 1);
          const room = perMinute + ((at - first.at + 1) * perMinute) / 60_000;
          expect(sum + Math.min(amount, perMinute)).toBeLessThanOrEqual(room + 1);
          sum += amount;
        }
      }
    });
    fc.assert(holds, { numRuns: Math.ceil(pureCases / 2) });
    expect(waited).toBeGreaterThan(pureCases / 10);
  });

  test("takes nothing where the wait would be too long, and gives back what was not used", () => {
    const clock = handClock();
    const bucket = openBucket(60, clock);
    expect(bucket.take(60, 0)).toBe(0);
    expect(bucket.take(10, 9_999)).toBeNull();
    expect(bucket.take(10, 10_000)).toBe(10_000);
    bucket.give(10);
    expect(bucket.take(5, 60_000)).toBe(5_000);
    // More than there is room for is no credit.
    bucket.give(1_000);
    expect([bucket.take(60, 0), bucket.take(1, 0)]).toEqual([0, null]);
  });
});

describe("the pace of an endpoint", () => {
  test("is that of its requests, whichever model is asked", async () => {
    const model = faulty("x", []);
    const at = openTestPolicies({ "x:a": model, "x:b": model }, { pacing: { x: { requestsPerMinute: 2 } } });
    const waits: unknown[] = [];
    for (const name of ["x:a", "x:b", "x:a"]) waits.push((await at.ask(name)).notices);
    expect(waits).toMatchObject([
      [{ type: "rate_limit_acquired", waitedMs: 0 }],
      [{ waitedMs: 0 }],
      [{ waitedMs: 30_000 }],
    ]);
  });

  test("is its own, however many names of the config lead to one server with one key, and whichever is asked first", async () => {
    const [x, y] = ["x", "y"].map((name) => ({ ...faulty(name, []), identity: "one server, one key" }));
    if (x === undefined || y === undefined) throw new Error("two are named");
    const at = openTestPolicies({ "x:a": x, "y:a": y }, { pacing: { y: { requestsPerMinute: 1 } } });
    const waits: unknown[] = [];
    for (const name of ["x:a", "y:a", "x:a", "y:a"]) waits.push((await at.ask(name)).notices);
    expect(waits).toMatchObject([[], [{ waitedMs: 0 }], [], [{ waitedMs: 60_000 }]]);
    // It is one server that is well or not.
    expect(at.health()).toHaveLength(1);
  });

  test("is that of its tokens, estimated before a call and corrected after it", async () => {
    const at = openTestPolicies({ "x:a": faulty("x", []) }, { pacing: { x: { tokensPerMinute: 1_000 } } });
    const request = { ...simpleRequest, settings: { maxOutputTokens: 900 } };
    // Each is taken for some 930 and uses ten: so the third need not wait.
    for (const waitedMs of [0, 0, 0]) {
      expect(await at.ask("x:a", request)).toMatchObject({ error: null, notices: [{ waitedMs }] });
    }
    // Of two at once, nobody knows before they end.
    const both = Promise.all([0, 1].map(() => ask(at.openProvider("x:a"), request)));
    const [, second] = await at.time.until(both);
    expect(second?.notices[0]).toMatchObject({ type: "rate_limit_acquired" });
    expect(at.time.now()).toBeGreaterThan(45_000);
  });

  test("refuses at once what would wait too long, and keeps nothing of what gave up waiting", async () => {
    const model = faulty("x", []);
    const at = openTestPolicies({ "x:a": model }, { pacing: { x: { requestsPerMinute: 1, queueMs: 60_000 } } });
    await at.ask("x:a");
    const controller = new AbortController();
    const waiting = ask(at.openProvider("x:a"), simpleRequest, controller.signal);
    const stopping = at.time.sleep(1_000, never).then(() => controller.abort(new Error("Enough.")));
    await at.time.until(Promise.all([waiting, stopping]));
    // The one that gave up has left its turn to this one.
    const next = ask(at.openProvider("x:a"));
    const refused = await at.time.until(Promise.race([ask(at.openProvider("x:a")), next]));
    expect(refused.error).toMatchObject({ code: "provider.busy", message: expect.stringContaining("60000 ms") });
    expect(at.time.now()).toBe(1_000);
    expect(await at.time.until(next)).toMatchObject({ error: null });
    expect([at.time.now(), model.attempts()]).toEqual([60_000, 2]);
  });
});

describe("the places of an endpoint", () => {
  test("are taken by so many at a time, in order", async () => {
    const model = faulty("x", ["hang", "hang", "answer"]);
    const config = { pacing: { x: { concurrent: 2 } }, retries: { callMs: 30_000, model: { retries: 0 } } };
    const at = openTestPolicies({ "x:a": model }, config);
    const hanging = Promise.all([ask(at.openProvider("x:a")), ask(at.openProvider("x:a"))]);
    const third = at.time.sleep(10_000, never).then(() => ask(at.openProvider("x:a")));
    await at.time.until(hanging);
    expect(await at.time.until(third)).toMatchObject({
      error: null,
      notices: [{ type: "slot_acquired", waitedMs: 20_000 }],
    });
  });

  test("are waited for no longer than the queue allows", async () => {
    const config = { pacing: { x: { concurrent: 1, queueMs: 5_000 } }, retries: { callMs: 30_000 } };
    const at = openTestPolicies({ "x:a": faulty("x", ["hang"]) }, config);
    const hanging = ask(at.openProvider("x:a"));
    expect((await at.ask("x:a")).error).toMatchObject({ code: "provider.busy" });
    expect(at.time.now()).toBe(5_000);
    await at.time.until(hanging);
    expect((await at.ask("x:a")).error).toBeNull();
  });
});

import { describe, expect, test } from "vitest";
import type { Fate } from "./faulty.ts";
import { faulty, openTestPolicies } from "./faulty.ts";

const away: Fate = { code: "provider.unavailable" };
const limited = (retryAfterMs: number): Fate => ({ code: "provider.rate_limited", retryAfterMs });
const times = (count: number, fate: Fate): readonly Fate[] => Array.from({ length: count }, () => fate);

describe("retries", () => {
  test.each<[string, readonly Fate[], readonly number[], string | null]>([
    ["wait 1, 2 and 4 s, and no more often", times(4, away), [1_000, 2_000, 4_000], "provider.unavailable"],
    ["end with the first answer", [away, away], [1_000, 2_000], null],
    ["take a cut answer for a passing failure", ["cut"], [1_000], null],
    ["wait as long as is asked", [limited(5_000), limited(1_500)], [5_000, 2_000], null],
    ["wait for a busy endpoint too", [{ code: "provider.unavailable", retryAfterMs: 9_000 }], [9_000], null],
    ["count what passes by its kind", [away, limited(0), away, limited(0)], [1_000, 1_000, 2_000, 2_000], null],
    ["don't repeat what a key is missing for", [{ code: "provider.sign_in" }], [], "provider.sign_in"],
    ["don't repeat what is wrong itself", [{ code: "provider.bad_request" }], [], "provider.bad_request"],
    ["don't repeat a broken answer", [{ code: "provider.bad_answer" }], [], "provider.bad_answer"],
    ["don't repeat a fault of our own", [{ code: "core.internal" }], [], "core.internal"],
    ["don't repeat what a model declined", ["refusal"], [], null],
    ["don't wait for who asks for an hour", [limited(3_600_000)], [], "provider.rate_limited"],
    [
      "queue a call that is still refused by a rate limit",
      times(5, limited(0)),
      [1, 2, 4, 30, 30].map((s) => s * 1_000),
      null,
    ],
    [
      "queue it for two minutes in all",
      times(9, limited(0)),
      [1, 2, 4, 30, 30, 30, 30].map((s) => s * 1_000),
      "provider.rate_limited",
    ],
    ["queue it for as long as is asked", [limited(60_000)], [60_000], null],
  ])("%s", async (_, fates, waits, code) => {
    const model = faulty("a", fates);
    const at = openTestPolicies({ "x:a": model }, { circuit: { failures: 100 } });
    const { error, notices } = await at.ask("x:a");
    expect(notices.flatMap((notice) => (notice.type === "retry" ? [notice.delayMs] : []))).toEqual(waits);
    expect(error?.code ?? null).toBe(code);
    expect(at.time.now()).toBe(waits.reduce((sum, ms) => sum + ms, 0));
    expect(model.attempts()).toBe(waits.length + 1);
  });

  test("say which attempt failed and why, before they wait", async () => {
    const at = openTestPolicies({ "x:a": faulty("a", [away]) });
    const { notices } = await at.ask("x:a");
    expect(notices).toEqual([
      { type: "retry", model: "x:a", attempt: 1, delayMs: 1_000, code: "provider.unavailable", message: "a failed." },
    ]);
  });

  test("follow the config", async () => {
    const model = faulty("a", times(9, away));
    const config = { retries: { model: { retries: 5, firstMs: 10, capMs: 50 } }, circuit: { failures: 100 } };
    const at = openTestPolicies({ "x:a": model }, config);
    const { notices } = await at.ask("x:a");
    expect(notices.map((notice) => (notice.type === "retry" ? notice.delayMs : -1))).toEqual([10, 20, 40, 50, 50]);
  });

  test("end with the time of the whole call", async () => {
    const at = openTestPolicies({ "x:a": faulty("a", ["hang"]) }, { retries: { callMs: 5_000 } });
    expect(await at.ask("x:a")).toMatchObject({ error: { code: "provider.timeout" } });
    expect(at.time.now()).toBe(5_000);
  });
});

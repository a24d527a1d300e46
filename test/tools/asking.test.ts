import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { openAsking } from "../../src/tools/asking.ts";
import type { Answerer, AnswererNow } from "../../src/tools/tool.ts";

const requests = [{ id: "1", type: "form", message: "Really?", schema: {} }] as const;
const never = new AbortController().signal;
const can = { form: true, url: false, sampling: false, roots: false };
const answering = (ask: AnswererNow["ask"]): Answerer => ({
  can,
  now: { ask, approve: () => Promise.resolve(null) },
});
const noPause = (): Disposable => ({ [Symbol.dispose]() {} });
/** The way to an answerer that calls inside a call have. */
function askerOf(ask: AnswererNow["ask"], pause = noPause, maxMs?: number): AnswererNow {
  const asker = openAsking(answering(ask), maxMs)?.(pause).now;
  if (asker === undefined) throw new Error("nobody can be asked");
  return asker;
}
const unanswered = expect.objectContaining({ code: "tool.input_needed" });

describe("openAsking()", () => {
  test("asks nobody who answers only when a call is made again", () => {
    expect(openAsking(undefined)).toBeUndefined();
    expect(openAsking({ can })).toBeUndefined();
  });

  test("waits so long in all, withdraws the question then, and puts no other", async () => {
    const withdrawn: unknown[] = [];
    const silent = async (_requests: unknown, signal: AbortSignal): Promise<JsonObject> => {
      const aborted = Promise.withResolvers<never>();
      signal.addEventListener("abort", () => aborted.reject(withdrawn.push(signal.reason)));
      return await aborted.promise;
    };
    const asker = askerOf(silent, noPause, 60);
    const startedAt = performance.now();
    const both = await Promise.allSettled([asker.ask(requests, never), asker.ask(requests, never)]);
    expect(both.map((end) => (end.status === "rejected" ? end.reason : "answered"))).toEqual([unanswered, unanswered]);
    expect(performance.now() - startedAt).toBeLessThan(60_000);
    expect(withdrawn).toHaveLength(1);
  });

  test("asks sixteen times and no more, whatever comes of it", async () => {
    let asked = 0;
    const quick = (): Promise<JsonObject> =>
      (asked += 1) % 2 === 0 ? Promise.reject(new Error("no")) : Promise.resolve({});
    const asker = askerOf(quick);
    const ends = await Promise.allSettled(Array.from({ length: 20 }, () => asker.ask(requests, never)));
    expect(asked).toBe(16);
    expect(ends.slice(16)).toEqual(Array.from({ length: 4 }, () => ({ status: "rejected", reason: unanswered })));
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(8);
  });

  test("stops the clock while it asks and while it waits for its turn, and no longer", async () => {
    let pauses = 0;
    const pause = (): Disposable => {
      pauses += 1;
      return { [Symbol.dispose]: () => void (pauses -= 1) };
    };
    const slow = async (): Promise<JsonObject> => await sleep(30, {});
    const asker = askerOf(slow, pause);
    const both = [asker.ask(requests, never), asker.ask(requests, never)];
    expect(pauses).toBe(2);
    await Promise.all(both);
    expect(pauses).toBe(0);
  });

  test("gives up with the call", async () => {
    const ending = new AbortController();
    const asker = askerOf(() => Promise.reject(new Error("cancelled")));
    ending.abort(new Error("the call has ended"));
    await expect(asker.ask(requests, ending.signal)).rejects.toThrow("the call has ended");
  });
});

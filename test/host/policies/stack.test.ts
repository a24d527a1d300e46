import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pureCases } from "../../support/cases.ts";
import { anyFate, ask, faulty, openTestPolicies, simpleRequest } from "./faulty.ts";

const retries = { model: { retries: 2, firstMs: 1_000, capMs: 4_000 }, rateLimited: { retries: 1, queueMs: 10_000 } };
const callMs = 60_000;
/** One call: its first round with retries, then one attempt for each wait of the queue. */
const mostAttempts = 1 + 2 + 1 + Math.floor(10_000 / 4_000);

const anyFates = fc.array(anyFate, { maxLength: 12 });
const ended = /^(message\.ended|provider\.\w+|core\.internal)$/;

describe("the whole stack around a model", () => {
  test(
    "ends with one answer or one typed failure, within its time and its attempts, whatever the model does",
    async () => {
      let answered = 0;
      const holds = fc.asyncProperty(anyFates, async (fates) => {
        const model = faulty("a", fates);
        const at = openTestPolicies({ "x:a": model }, { retries: { ...retries, callMs } });
        const { events, error } = await at.ask("x:a");
        const ends = events.filter(({ type }) => type === "message.ended");
        expect(ends.length + (error === null ? 0 : 1)).toBe(1);
        expect(error?.code ?? events.at(-1)?.type).toMatch(ended);
        expect(at.time.now()).toBeLessThanOrEqual(callMs);
        expect(model.attempts()).toBeLessThanOrEqual(mostAttempts);
        // What was streamed since the last attempt was given up is what the answer says.
        const isVoiding = (event: (typeof events)[number]): boolean =>
          event.type === "notice" && (event.notice.type === "retry" || event.notice.type === "failover");
        const since = events.slice(events.findLastIndex(isVoiding) + 1);
        const said = since.flatMap((event) => (event.type === "text.delta" ? [event.text] : [])).join("");
        expect(error === null ? said : "").toBe(error === null ? `a${model.attempts()} from a` : "");
        answered += error === null ? 1 : 0;
      });
      await fc.assert(holds, { numRuns: Math.ceil(pureCases / 5) });
      expect(answered).toBeGreaterThan(pureCases / 50);
    },
    30_000 + 20 * pureCases,
  );

  test(
    "does the same for a route, where each model has its own attempts",
    async () => {
      let second = 0;
      const route = { models: ["x:a", "x:b"], declined: "next" };
      const holds = fc.asyncProperty(anyFates, anyFates, async (one, two) => {
        const models = { "x:a": faulty("a", one), "x:b": faulty("b", two) };
        const providers = { x: {} };
        const at = openTestPolicies(models, { providers, routes: { both: route }, retries: { ...retries, callMs } });
        const { events, error } = await at.ask("both");
        const ends = events.flatMap((event) => (event.type === "message.ended" ? [event] : []));
        expect(ends.length + (error === null ? 0 : 1)).toBe(1);
        expect(error?.code ?? events.at(-1)?.type).toMatch(ended);
        expect(at.time.now()).toBeLessThanOrEqual(callMs);
        for (const model of Object.values(models)) expect(model.attempts()).toBeLessThanOrEqual(mostAttempts);
        second += ends[0]?.model === "x:b" ? 1 : 0;
      });
      await fc.assert(holds, { numRuns: Math.ceil(pureCases / 5) });
      expect(second).toBeGreaterThan(pureCases / 100);
    },
    30_000 + 20 * pureCases,
  );

  test(
    "ends with the reason of an abort as soon as that comes",
    async () => {
      let aborted = 0;
      const holds = fc.asyncProperty(anyFates, fc.integer({ min: 0, max: 20_000 }), async (fates, afterMs) => {
        const at = openTestPolicies({ "x:a": faulty("a", [...fates, "deaf"]) }, { retries: { ...retries, callMs } });
        const controller = new AbortController();
        const reason = new Error("Enough.");
        const stopping = at.time.sleep(afterMs, new AbortController().signal).then(() => controller.abort(reason));
        const { thrown, error, events } = await at.time.until(
          ask(at.openProvider("x:a"), simpleRequest, controller.signal),
        );
        expect(at.time.now()).toBeLessThanOrEqual(afterMs);
        const isAborted = thrown === reason;
        aborted += isAborted ? 1 : 0;
        expect(isAborted ? "message.ended" : (error?.code ?? events.at(-1)?.type)).toMatch(ended);
        await at.time.until(stopping);
      });
      await fc.assert(holds, { numRuns: Math.ceil(pureCases / 10) });
      expect(aborted).toBeGreaterThan(pureCases / 100);
    },
    30_000 + 10 * pureCases,
  );

  test("leaves a model behind that does not heed its signal, and gives its place to others", async () => {
    const model = faulty("a", ["deaf"]);
    const config = { pacing: { a: { concurrent: 1, queueMs: 1_000_000 } }, retries: { callMs } };
    const at = openTestPolicies({ "x:a": model }, config);
    const never = new AbortController().signal;
    const later = at.time.sleep(1, never).then(() => ask(at.openProvider("x:a")));
    const [one, two] = await at.time.until(Promise.all([ask(at.openProvider("x:a")), later]));
    expect(one.error?.code).toBe("provider.timeout");
    expect(two).toMatchObject({ error: null, notices: [{ type: "slot_acquired", waitedMs: callMs - 1 }] });
    expect(model.attempts()).toBe(2);
  });
});

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import { openCircuit } from "../../../src/host/policies/circuit.ts";
import type { CallEnd, Gate, Passed } from "../../../src/host/policies/gate.ts";
import { withGates } from "../../../src/host/policies/gate.ts";
import { pureCases } from "../../support/cases.ts";
import { handClock } from "../../support/clock.ts";
import { free } from "../scripted.ts";
import type { Fate } from "./faulty.ts";
import { ask, faulty, openTestPolicies, simpleRequest } from "./faulty.ts";

const config = { failures: 3, windowMs: 10_000, openMs: 5_000 };
const never = new AbortController().signal;
const ill: CallEnd = { type: "failed", code: "provider.unavailable" };
const away: Fate = { code: "provider.unavailable" };

describe("a circuit", () => {
  test("opens after failures in a row, lets one call try later, and closes when that answers", async () => {
    const clock = handClock();
    const circuit = openCircuit(config, clock);
    const enter = (): Promise<Passed> => circuit.gate("x:a")(simpleRequest, never);
    const fail = async () => (await enter()).leave(ill);
    expect([await fail(), await fail()]).toEqual([undefined, undefined]);
    expect(await fail()).toEqual({ type: "circuit", model: "x:a", state: "open" });
    await expect(enter()).rejects.toMatchObject({
      code: "provider.circuit_open",
      message: expect.stringContaining("5 s"),
    });
    clock.advance(config.openMs);
    const probe = await enter();
    expect(probe.notice).toEqual({ type: "circuit", model: "x:a", state: "half_open" });
    // One tries, and the others wait for what comes of it.
    await expect(enter()).rejects.toMatchObject({ code: "provider.circuit_open" });
    expect(probe.leave(ill)).toMatchObject({ state: "open" });
    await expect(enter()).rejects.toMatchObject({ code: "provider.circuit_open" });
    clock.advance(config.openMs);
    const again = await enter();
    // Whoever gives the try up has shown nothing.
    expect(again.leave({ type: "left" })).toBeUndefined();
    const last = await enter();
    expect(
      last.leave({
        type: "answered",
        usage: free,
      }),
    ).toMatchObject({ state: "closed" });
    expect([circuit.state(), circuit.failures()]).toEqual(["closed", 0]);
  });

  test("counts only failures in a row, within its window, that say that the endpoint is not well", async () => {
    const clock = handClock();
    const circuit = openCircuit(config, clock);
    const end = async (how: CallEnd) => (await circuit.gate("x:a")(simpleRequest, never)).leave(how);
    const fine: readonly CallEnd[] = [
      { type: "failed", code: "provider.sign_in" },
      { type: "failed", code: "provider.bad_request" },
      { type: "failed", code: "provider.rate_limited" },
      { type: "left" },
    ];
    for (const how of fine) for (let time = 0; time < 5; time += 1) await end(how);
    expect(circuit.state()).toBe("closed");
    for (const how of fine.slice(0, 3)) {
      await end(ill);
      await end(ill);
      await end(how);
    }
    expect(circuit.state()).toBe("closed");
    await end(ill);
    await end(ill);
    clock.advance(config.windowMs + 1);
    await end(ill);
    expect(circuit.state()).toBe("closed");
  });

  test(
    "never lets two calls try at once, and never lets one through while it is open",
    async () => {
      const step = fc.oneof(
        fc.constant({ type: "enter" } as const),
        fc.constant({ type: "enter" } as const),
        fc.record({
          type: fc.constant("leave" as const),
          which: fc.nat(),
          isIll: fc.constantFrom(true, true, true, false),
        }),
        fc.record({ type: fc.constant("wait" as const), ms: fc.constantFrom(1, 500, config.openMs) }),
      );
      let refused = 0;
      const holds = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const clock = handClock();
        const circuit = openCircuit(config, clock);
        const inside: Passed[] = [];
        const probes = new Set<Passed>();
        const wrong: string[] = [];
        for (const next of steps) {
          if (next.type === "wait") clock.advance(next.ms);
          else if (next.type === "leave") {
            const [left] = inside.splice(next.which % Math.max(1, inside.length), 1);
            if (left === undefined) continue;
            probes.delete(left);
            left.leave(next.isIll ? ill : { type: "left" });
          } else {
            const state = circuit.state();
            const passed = await circuit
              .gate("x:a")(simpleRequest, never)
              .catch(() => null);
            if (state !== "half_open" && (state === "open") !== (passed === null)) wrong.push(state);
            if (passed === null) refused += 1;
            else inside.push(passed);
            if (passed?.notice !== undefined) probes.add(passed);
            if (probes.size > 1) wrong.push("two tries");
          }
        }
        expect(wrong).toEqual([]);
      });
      await fc.assert(holds, { numRuns: Math.ceil(pureCases / 4) });
      expect(refused).toBeGreaterThan(pureCases / 20);
    },
    30_000 + 10 * pureCases,
  );

  test.each([
    ["does not count a call whose time was over before it was sent", "closed", false],
    ["counts a call whose time was over", "open", true],
  ])("%s", async (_, state, isSent) => {
    const circuit = openCircuit({ ...config, failures: 1 }, handClock());
    const full: Gate = (_request, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    const gates = [circuit.gate("x:a"), ...(isSent ? [] : [full])];
    const over = new AbortController();
    const asked = ask(withGates(faulty("x", ["hang"]), gates), simpleRequest, over.signal);
    await new Promise(setImmediate);
    over.abort(new CapstanError("provider.timeout", "Its time is over."));
    expect([(await asked).error?.code, circuit.state()]).toEqual(["provider.timeout", state]);
  });

  test("belongs to an endpoint, whichever run and model asks, and tells its health", async () => {
    const fates: readonly Fate[] = [away, away, away, away];
    const bad = faulty("ill", fates);
    const well = faulty("well", []);
    const models = { "x:a": bad, "x:b": bad, "y:a": well };
    const at = openTestPolicies(models, { circuit: { failures: 4, openMs: 60_000 } });
    expect(await at.ask("x:a")).toMatchObject({ error: { code: "provider.unavailable" } });
    expect(await at.ask("x:b")).toMatchObject({ error: { code: "provider.circuit_open" }, notices: [] });
    expect(await at.ask("y:a")).toMatchObject({ error: null });
    expect(bad.attempts()).toBe(4);
    expect(at.health()).toEqual([
      { name: "well", state: "closed", failures: 0 },
      { name: "ill", state: "open", failures: 4 },
    ]);
    await at.time.until(at.time.sleep(60_000, never));
    const back = await at.ask("x:b");
    expect(back).toMatchObject({ error: null, notices: [{ state: "half_open" }, { state: "closed" }] });
    expect(at.health()[0]).toEqual({ name: "ill", state: "closed", failures: 0 });
  });
});

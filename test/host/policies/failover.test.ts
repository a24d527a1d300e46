import { describe, expect, test } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { openProvider } from "../../../src/host/providers/all.ts";
import type { Fate } from "./faulty.ts";
import { faulty, openTestPolicies, simpleRequest } from "./faulty.ts";

const away: Fate = { code: "provider.unavailable" };
const providers = { x: {}, y: {}, z: {} };
const route = (over: object = {}) => ({ providers, routes: { fast: { models: ["x:a", "y:b", "z:c"], ...over } } });
const sign: Fate = { code: "provider.sign_in" };

/** Three models, of which the first ones fail as they are told to. */
const three = (...fates: readonly (readonly Fate[])[]) => ({
  "x:a": faulty("a", fates[0] ?? []),
  "y:b": faulty("b", fates[1] ?? []),
  "z:c": faulty("c", fates[2] ?? []),
});

const failovers = (notices: readonly { readonly type: string }[]) => notices.filter(({ type }) => type === "failover");

describe("a route", () => {
  test.each<[string, Fate, number]>([
    ["a passing failure, after its retries", away, 4],
    ["a key that is missing", sign, 1],
    ["a request that it does not take", { code: "provider.bad_request" }, 1],
    ["a broken answer", { code: "provider.bad_answer" }, 1],
    ["a rate limit that asks for too long", { code: "provider.rate_limited", retryAfterMs: 600_000 }, 1],
  ])("asks the next model after %s, and says from which to which and why", async (_, fate, attempts) => {
    const models = three(Array.from({ length: 4 }, () => fate));
    const at = openTestPolicies(models, route());
    const { notices, events, error } = await at.ask("fast");
    expect(error).toBeNull();
    const code = typeof fate === "object" ? fate.code : "";
    expect(failovers(notices)).toEqual([{ type: "failover", model: "x:a", next: "y:b", code, message: "a failed." }]);
    expect(events.at(-1)).toMatchObject({ type: "message.ended", model: "y:b", parts: [{ text: "from b" }] });
    expect([models["x:a"].attempts(), models["y:b"].attempts(), models["z:c"].attempts()]).toEqual([attempts, 1, 0]);
  });

  test("throws what the last one failed with, and says what each did", async () => {
    const at = openTestPolicies(
      three([sign], [{ code: "provider.bad_answer" }], [{ code: "provider.bad_request" }]),
      route(),
    );
    const { error } = await at.ask("fast");
    expect(error).toMatchObject({ code: "provider.bad_request" });
    expect(error?.message).toMatch(/x:a \(provider\.sign_in.*y:b \(provider\.bad_answer.*z:c \(provider\.bad_request/);
  });

  test("is waited for where one of its models may be", async () => {
    const limited: Fate = { code: "provider.rate_limited", retryAfterMs: 40_000 };
    const models = three([limited, { code: "provider.rate_limited" }], [sign, sign], [sign, sign]);
    const at = openTestPolicies(models, route());
    const { error, events } = await at.ask("fast");
    expect(error).toBeNull();
    expect(events.at(-1)).toMatchObject({ model: "x:a" });
    // As long as was asked for, then once more as long as the cap: in the queue nothing is tried twice in a row.
    expect([at.time.now(), models["x:a"].attempts()]).toEqual([70_000, 3]);
  });

  test("ends where a fault is our own", async () => {
    const models = three([{ code: "core.internal" }]);
    const at = openTestPolicies(models, route());
    expect((await at.ask("fast")).error).toMatchObject({ code: "core.internal" });
    expect(models["y:b"].attempts()).toBe(0);
  });

  test("asks another model after one has declined only where the config says so", async () => {
    const ends = openTestPolicies(three(["refusal"]), route());
    expect((await ends.ask("fast")).events.at(-1)).toMatchObject({ model: "x:a", stop: "refusal" });
    const goesOn = openTestPolicies(three(["refusal"]), route({ declined: "next" }));
    const { events, notices } = await goesOn.ask("fast");
    expect(events.at(-1)).toMatchObject({ model: "y:b", stop: "end" });
    expect(failovers(notices)).toMatchObject([{ code: "provider.declined", usage: { output: 10 } }]);
    const all = openTestPolicies(three(["refusal"], ["refusal"], ["refusal"]), route({ declined: "next" }));
    expect((await all.ask("fast")).events.at(-1)).toMatchObject({ model: "z:c", stop: "refusal" });
  });

  test("begins with another model for each run, where it is to take turns, and keeps to it within one", async () => {
    const at = openTestPolicies(three(), route({ pick: "turn" }));
    const answered = async (cacheKey: string) => {
      const last = (await at.ask("fast", { ...simpleRequest, cacheKey })).events.at(-1);
      return last?.type === "message.ended" ? last.model : undefined;
    };
    const runs = ["run_1", "run_2", "run_1", "run_3", "run_4", "run_2"];
    const order: unknown[] = [];
    for (const run of runs) order.push(await answered(run));
    expect(order).toEqual(["x:a", "y:b", "x:a", "z:c", "x:a", "y:b"]);
  });

  test("does without a model that can't be opened, and can't do without any", async () => {
    const { "y:b": second } = three();
    const at = openTestPolicies({ "y:b": second }, route());
    const { events, notices } = await at.ask("fast");
    expect(events.at(-1)).toMatchObject({ model: "y:b" });
    expect(failovers(notices)).toMatchObject([{ model: "x:a", code: "provider.sign_in" }]);
    const none = openTestPolicies({}, route());
    expect(() => none.openProvider("fast")).toThrow(CapstanError);
    expect(() => none.openProvider("fast")).toThrow("No key for x:a.");
  });

  test("takes no base URL", () => {
    const at = openTestPolicies(three(), route());
    expect(() => at.openProvider("fast", "http://127.0.0.1:1/v1")).toThrow(/--base-url/);
    expect(at.openProvider("x:a", "http://127.0.0.1:1/v1")).toMatchObject({ name: "a" });
    expect(at.opened.at(-1)).toBe("http://127.0.0.1:1/v1");
  });
});

describe("the config of routes", () => {
  test("is what a wrong name is told of", () => {
    const config = HostConfig.parse(route());
    expect(() => openProvider("fats", { config, env: {} })).toThrow(/x:MODEL \(from your config\).*fast \(from/);
  });

  test.each([
    [{ fast: { models: [] } }, /models/],
    [{ fast: { models: ["x:a", "x:a"] } }, /already/],
    [{ fast: { models: ["x"] } }, /ENDPOINT:NAME/],
    [{ fast: { models: [":a"] } }, /ENDPOINT:NAME/],
    [{ fast: { models: ["x:"] } }, /ENDPOINT:NAME/],
    [{ fast: { models: ["nowhere:a"] } }, /no endpoint is called .*nowhere/],
    [{ planner: { models: ["x:a"] } }, /another name/],
    [{ fast: { models: ["x:a"], pick: "any" } }, /pick/],
  ])("refuses %j", (routes, problem) => {
    const parsed = HostConfig.safeParse({ providers, routes });
    expect(JSON.stringify(parsed.error?.issues)).toMatch(problem);
  });

  test("knows no pace for an endpoint that there is not", () => {
    const parsed = HostConfig.safeParse({ providers, pacing: { openai: {}, x: {}, opnai: { concurrent: 1 } } });
    expect(parsed.error?.issues).toMatchObject([{ path: ["pacing", "opnai"], message: /no endpoint is called/ }]);
  });

  test("takes endpoints of the config and of its types, and the planner", () => {
    const models = ["x:a", "openai-compatible:b", "planner"];
    expect(HostConfig.parse({ providers, routes: { fast: { models } } }).routes["fast"]).toMatchObject({
      models,
      pick: "first",
    });
  });
});

import { expect, test } from "vitest";
import { HostConfig } from "../../../src/host/config.ts";
import { validateConfig } from "../../../src/host/providers/validate-config.ts";

const look = (config: unknown, env: Readonly<Record<string, string>> = {}) =>
  validateConfig({ config: HostConfig.parse(config), env });

const agent = { description: "Reviews", instructions: "Review." };

test("validateConfig() finds nothing where no model is named", () => {
  expect(look({})).toEqual([]);
});

test.each([
  ["a key that is missing", { model: "openai:m" }, /Set OPENAI_API_KEY/],
  ["a base URL that is missing", { model: "openai-compatible:m" }, /needs a base URL/],
  ["a provider that there is not", { model: "gpt" }, /There is no model "gpt"/],
  ["one of a model", { model: "openai:gpt-4o", settings: { reasoning: "high" } }, /gpt-4o does not reason/],
  ["one of OpenAI", { model: "openai:m", settings: { seed: 7 } }, /host\.model: .* no seed/],
  [
    "one of an agent",
    { model: "planner", agents: { a: { ...agent, model: "openai:m", settings: { stop: ["x"] } } } },
    /agent a: .* no stop/,
  ],
  [
    "one of a route's models",
    { model: "both", routes: { both: { models: ["openai:m", "here:m"] } }, settings: { seed: 7 } },
    /no seed/,
  ],
] as const)("validateConfig() names %s", (_, config, problem) => {
  const here = { baseUrl: "http://127.0.0.1:1/v1" };
  const env = problem.source.includes("OPENAI_API_KEY") ? {} : { OPENAI_API_KEY: "secret" };
  const [first] = look({ ...config, providers: { here } }, env);
  expect(first?.name).toMatch(/^model /);
  expect(first?.problems.join(" ")).toMatch(problem);
});

test("validateConfig() says who names a model, whether it has a price, and what endpoints wait for", () => {
  const config = {
    model: "openai:m",
    prices: { "here:m": { input: 1, output: 2 } },
    agents: { a: { ...agent, model: "here:m" }, b: agent },
    providers: {
      here: { baseUrl: "http://127.0.0.1:1/v1" },
      idle: { baseUrl: "http://127.0.0.1:2/v1" },
      keyed: { type: "anthropic", apiKeyEnv: "WORK_KEY" },
    },
  };
  expect(look(config, { OPENAI_API_KEY: "secret" })).toEqual([
    {
      name: "model openai:m",
      problems: [],
      notes: ["Named by host.model, agent b.", "It has no price in host.prices, so it counts as free."],
    },
    { name: "model here:m", problems: [], notes: ["Named by agent a."] },
    { name: "endpoint idle", problems: [], notes: ["--model idle:NAME asks a model there."] },
    { name: "endpoint keyed", problems: ["No key for keyed. Set WORK_KEY, or see `capstan doctor`."], notes: [] },
  ]);
});

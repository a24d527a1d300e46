import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Event } from "../../../src/core/event.ts";
import { readTools } from "../../../src/core/offered.ts";
import { openAgents } from "../../../src/host/agents/agents.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { localScope } from "../../../src/core/scope.ts";
import { parseConfig } from "../../../src/config.ts";
import { testTool } from "../../support/door.ts";
import { tempFolder } from "../../support/temp.ts";
import type { Turn } from "../scripted.ts";
import { openTestHost, scripted } from "../scripted.ts";

const reviewer = {
  description: "Reviews a change.",
  instructions: "You review {{ language }}.{% if strict %} Be strict.{% endif %}",
  variables: { language: {}, strict: { type: "boolean", default: false } },
  tools: ["read_*"],
};

const tools = ["read_file", "read_log", "send"].map((name) => testTool(name));
const said: readonly Turn[] = [{ calls: [["read_file", {}], ["send", {}] as const] }, { text: "Done." }];

/** A host whose config has these agents. */
async function openWith(agents: object, turns: readonly Turn[] = said, over: object = {}) {
  const provider = scripted(turns);
  const config = HostConfig.parse({ agents, ...over });
  const at = await openTestHost({ tools, provider, config });
  return { ...at, config, provider, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

const created = (events: readonly Event[]) => {
  const [first] = events;
  if (first?.type !== "run.created") throw new Error("The log does not begin with run.created.");
  return first;
};

describe("a run of an agent", () => {
  test("is told its instructions with the variables in their places, and keeps them in its log", async () => {
    await using at = await openWith({ reviewer });
    const variables = { language: "Rust", strict: "true" };
    const { runId, status } = await at.start("Review it.", { agent: "reviewer", variables });
    expect(status).toBe("done");
    const { system, agent } = created(await at.events(runId));
    expect(system).toMatch(/^Do the user's task[^]*\n\nYou review Rust\. Be strict\.$/);
    expect(at.provider.requests.map((request) => request.system)).toEqual([system, system]);
    expect(agent).toEqual({ name: "reviewer", version: 1 });
  });

  test("may call its own tools and no others of its starter, which a run without an agent may", async () => {
    await using at = await openWith({ reviewer });
    const namesAfter = async (over: Parameters<typeof at.start>[1]): Promise<readonly unknown[]> => {
      const { runId } = await at.start("Go.", over);
      const events = await at.events(runId);
      const offered = events.find((event) => event.type === "tools.offered");
      const outcomes = events.flatMap((event) => (event.type === "tool.finished" ? [event.outcome.code ?? "ok"] : []));
      return [readTools(offered?.tools ?? "[]").map(({ name }) => name), outcomes.sort()];
    };
    const variables = { language: "Rust" };
    expect(await namesAfter({ agent: "reviewer", variables })).toEqual([
      ["read_file", "read_log"],
      ["ok", "tool.unknown"],
    ]);
    expect(await namesAfter({})).toEqual([
      ["read_file", "read_log", "send"],
      ["ok", "ok"],
    ]);
  });

  test("calls its tools as its starter may, who is asked and held to arguments", async () => {
    const calls = [["read_file", { text: "mine" }] as const, ["read_file", { text: "yours" }] as const];
    const turns = [{ calls: [...calls, ["send", {}] as const] }, { text: "Done." }];
    const agent = { description: "d", instructions: "i", tools: ["read_*", "send"] };
    await using at = await openWith({ agent }, turns);
    const only = [{ name: "text", rule: { type: "exact" as const, value: "mine" }, optional: false }];
    const held = at.grant.rights.tools.map((right) =>
      right.name === "send" ? { ...right, ask: true } : { ...right, args: only },
    );
    const grant = { ...at.grant, id: "narrow", rights: { ...at.grant.rights, tools: held } };
    const outcome = await at.start("Go.", { agent: "agent", grant });
    expect(outcome).toMatchObject({ status: "suspended", pending: [{ name: "send", why: "marked" }] });
    const ends = (await at.events(outcome.runId)).flatMap((event) =>
      event.type === "tool.finished" ? [event.outcome.code ?? "ok"] : [],
    );
    expect(ends.toSorted()).toEqual(["ok", "permission.argument_refused"]);
  });

  test("has all tools of its starter where it names none, and none where its list is empty", async () => {
    const about = { description: "d", instructions: "i" };
    await using at = await openWith({ all: about, none: { ...about, tools: [] } }, [{ text: "Done." }]);
    const offeredTo = async (agent: string): Promise<readonly string[]> => {
      await at.start("Go.", { agent });
      return at.provider.requests.at(-1)?.tools.map(({ name }) => name) ?? ["no request"];
    };
    expect(await offeredTo("all")).toEqual(["read_file", "read_log", "send"]);
    expect(await offeredTo("none")).toEqual([]);
  });

  test("has the rules and the schema of its agent, beside those of whoever starts it", async () => {
    const guardrails = { rules: [{ name: "no_gold", on: ["output"], words: ["gold"], action: "block" }] };
    const answerSchema = { schema: { type: "object", required: ["n"] }, tries: 1 };
    const agents = { miner: { description: "d", instructions: "i", tools: [], guardrails, answerSchema } };
    await using at = await openWith(agents, [{ text: '{"n":1}' }]);
    const own = {
      rules: [{ name: "no_silver", on: ["output" as const], words: ["silver"], action: "block" as const }],
    };
    const outcome = await at.start("Dig.", { agent: "miner", guardrails: own });
    expect(outcome).toMatchObject({ status: "done", value: { n: 1 } });
    const { guardrails: all, answerSchema: schema } = created(await at.events(outcome.runId));
    expect(all?.rules?.map(({ name }) => name).toSorted()).toEqual(["no_gold", "no_silver"]);
    expect(schema).toMatchObject({ schema: { required: ["n"] }, tries: 1 });
    await using other = await openWith(agents, [{ text: '{"n":"gold"}' }]);
    expect(await other.start("Dig.", { agent: "miner" })).toMatchObject({
      status: "refused",
      code: "guardrail.output",
    });
  });

  test("never gets a tool that its starter has not, and none that appears later", async () => {
    await using at = await openWith({ reader: { ...reviewer, variables: {}, instructions: "Read.", tools: ["send"] } });
    const without = at.grant.rights.tools.filter(({ name }) => name !== "send");
    const grant = { ...at.grant, id: "no-send", rights: { ...at.grant.rights, tools: without } };
    await expect(at.start("Go.", { agent: "reader", grant })).rejects.toMatchObject({
      code: "permission.no_right",
      message: expect.stringContaining("--allow send"),
    });
    expect(await at.host.list(10)).toEqual([]);
    expect(await at.start("Go.", { agent: "reader" })).toMatchObject({ status: "done" });
  });

  test("is held to its own limits, which its starter can only lower, and takes its model and its settings", async () => {
    const limits = { turns: 3, costMicroUsd: 50 };
    const settings = { temperature: 1, seed: 7 };
    const agents = { poet: { description: "d", instructions: "i", model: "own", settings, limits } };
    await using at = await openWith(agents, said, { model: "first" });
    const createdBy = async (over: Parameters<typeof at.host.start>[0]) =>
      created(await at.events((await at.host.start(over)).runId));
    const common = { task: "t", grant: at.grant, signal: new AbortController().signal };
    expect(await createdBy({ ...common, agent: "poet", limits: { turns: 9, costMicroUsd: 20 } })).toMatchObject({
      model: "own",
      settings,
      limits: { turns: 3, costMicroUsd: 20, depth: 3 },
    });
    const other = { model: "other", settings: { temperature: 0 } };
    expect(await createdBy({ ...common, agent: "poet", ...other })).toMatchObject({
      model: "other",
      settings: { temperature: 0, seed: 7 },
    });
    expect(await createdBy({ ...common, limits: { turns: 9 } })).toMatchObject({
      model: "first",
      limits: { turns: 9 },
    });
  });

  test.each([
    [{ agent: "reviewer" }, "usage.bad_option", "language is missing. Say it: --var language=VALUE"],
    [{ agent: "reviewer", variables: { language: "x", mood: "y" } }, "usage.bad_option", '"mood" is none of them'],
    [{ agent: "reviewer", variables: { language: "x", strict: "so" } }, "usage.bad_option", "must be a boolean"],
    [{ agent: "reviwer" }, "agent.unknown", 'Did you mean "reviewer"?'],
    [{ agent: "reviewer@9" }, "agent.unknown", "no version 9"],
    [{ agent: "../x" }, "usage.bad_option", "NAME@VERSION"],
    [{ agent: "constructor" }, "agent.unknown", "There is no agent"],
    [{ agent: "typo", variables: { language: "x" } }, "config.bad_value", "undefined variable: langauge"],
    [{ variables: { language: "x" } }, "usage.bad_option", "Name the agent too"],
  ])("is refused before anything begins: %o", async (over, code, text) => {
    const typo = { ...reviewer, instructions: "{{ langauge }}" };
    await using at = await openWith({ reviewer, typo });
    const start = at.start("Go.", over);
    await expect(start).rejects.toMatchObject({ code });
    await expect(start).rejects.toThrow(text);
    expect([await at.host.list(1), at.provider.requests]).toEqual([[], []]);
  });
});

describe("openAgents()", () => {
  const parse = (agents: object) => HostConfig.parse({ agents }).agents;

  test("counts the versions of an agent of the config, and keeps each as it was", async () => {
    await using at = await openWith({});
    const open = (agents: object) => openAgents({ store: at.store, scope: localScope, agents: parse(agents) });
    const first = open({ a: { description: "d", instructions: "one" } });
    expect(await first.find("a")).toMatchObject({ version: 1, definition: { instructions: "one" } });
    expect(await first.find("a")).toMatchObject({ version: 1 });
    const second = open({ a: { description: "d", instructions: "two" } });
    expect(await second.find("a")).toMatchObject({ version: 2, definition: { instructions: "two" } });
    expect(await second.find("a@1")).toMatchObject({ version: 1, definition: { instructions: "one" } });
    expect(await second.list()).toEqual([{ name: "a", version: 2 }]);
    // Taken out of the config it is gone, and its versions are there by their numbers.
    const none = open({});
    await expect(none.find("a")).rejects.toMatchObject({ code: "agent.unknown" });
    expect(await none.find("a@2")).toMatchObject({ version: 2 });
    expect(await none.list()).toEqual([]);
  });

  test("gives each version one number, however many processes change an agent at a time", async () => {
    await using at = await openWith({});
    const texts = Array.from({ length: 8 }, (_, index) => `text ${index}`);
    const found = await Promise.all(
      texts.map(async (instructions) => {
        const agents = parse({ a: { description: "d", instructions } });
        return await openAgents({ store: at.store, scope: localScope, agents }).find("a");
      }),
    );
    expect(found.map(({ version }) => version).sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const none = openAgents({ store: at.store, scope: localScope, agents: {} });
    for (const { version, definition } of found) expect(await none.find(`a@${version}`)).toMatchObject({ definition });
  });

  test("keeps agents of the store beside those of the config, whose names they can't take", async () => {
    await using at = await openWith({ reviewer });
    const { agents } = at.host;
    const saved = { description: "d", instructions: "You count." };
    expect(await agents.save("counter", saved)).toMatchObject({ version: 1 });
    expect(await agents.save("counter", { ...saved, tools: [] })).toMatchObject({ version: 2 });
    expect(await agents.find("counter")).toMatchObject({ version: 2, definition: { tools: [] } });
    expect(await agents.list()).toEqual([
      { name: "reviewer", version: null },
      { name: "counter", version: 2 },
    ]);
    await expect(agents.save("reviewer", saved)).rejects.toMatchObject({ code: "config.bad_value" });
    await expect(agents.save("x@1", saved)).rejects.toMatchObject({ code: "usage.bad_option" });
    await expect(agents.save("x", { ...saved, instructions: "" })).rejects.toThrow("instructions");
    const { runId } = await at.start("Count.", { agent: "counter@1" });
    expect(created(await at.events(runId)).agent).toEqual({ name: "counter", version: 1 });
  });

  test("takes the name of a saved agent away and keeps its versions; saved again, it gets the next one", async () => {
    await using at = await openWith({ reviewer });
    const { agents } = at.host;
    const saved = { description: "d", instructions: "You count." };
    await agents.save("counter", saved);
    await agents.remove("counter");
    await expect(agents.find("counter")).rejects.toMatchObject({ code: "agent.unknown" });
    await expect(agents.remove("counter")).rejects.toMatchObject({ code: "agent.unknown" });
    expect(await agents.list()).toEqual([{ name: "reviewer", version: null }]);
    expect(await agents.find("counter@1")).toMatchObject({ version: 1 });
    expect(await agents.save("counter", saved)).toMatchObject({ version: 2 });
    expect(await agents.find("counter")).toMatchObject({ version: 2 });
    await expect(agents.remove("reviewer")).rejects.toMatchObject({ code: "config.bad_value" });
    await expect(agents.remove("counter@2")).rejects.toMatchObject({ code: "usage.bad_option" });
    await expect(agents.save("x", { ...saved, instructions: "{{ whom }}" })).rejects.toThrow("they use whom");
  });

  test("reads instructions from a file in the home, and a change of it is a version", async () => {
    await using folder = await tempFolder();
    await mkdir(join(folder.path, "agents"));
    const file = "agents/a.liquid";
    await writeFile(join(folder.path, file), "You are {{ who }}.");
    await using at = await openWith({});
    const agents = parse({ a: { description: "d", instructions: { file }, variables: { who: {} } } });
    const open = () => openAgents({ store: at.store, scope: localScope, agents, home: folder.path });
    expect(await open().find("a")).toMatchObject({ version: 1, definition: { instructions: "You are {{ who }}." } });
    await writeFile(join(folder.path, file), "You were {{ who }}.");
    expect(await open().find("a")).toMatchObject({ version: 2 });
    const lost = parse({ a: { description: "d", instructions: { file: "agents/b.liquid" } } });
    const without = openAgents({ store: at.store, scope: localScope, agents: lost, home: folder.path });
    await expect(without.find("a")).rejects.toMatchObject({ code: "config.missing" });
  });
});

describe("the agents of a config", () => {
  const one = (more: string): string => `host: { agents: { a: { description: d, instructions: i, ${more} } } }`;

  test.each([
    [one("agents: [b]"), 'host.agents.a.agents.0: "b" is no agent of this config; it has a'],
    [one("agents: [constructor]"), '"constructor" is no agent of this config'],
    [one("agents: [a]"), "these agents call each other in a circle: a → a"],
    [
      `host: { agents: { a: { description: d, instructions: i, agents: [b] }, b: { description: d, instructions: i, agents: [c] },
        c: { description: d, instructions: i, agents: [b] } } }`,
      "in a circle: b → c → b; take one out",
    ],
    [one("variables: { n: { type: number, default: three } }"), "the default is not of the variable's type"],
    [one("variables: { _x: {} }"), "begins with a letter"],
    [`host: { agents: { a: { description: d, instructions: { file: ../x } } } }`, "a file is named from the home"],
    [
      `host: { agents: { a: { description: d, instructions: { file: /etc/passwd } } } }`,
      "a file is named from the home",
    ],
    [`host: { agents: { a: { description: d, instructions: { file: agents/../../x } } } }`, "named from the home"],
    [`host: { agents: { "A b": { description: d, instructions: i } } }`, "1 to 40 small letters"],
    [one("turns: 3"), '"turns" is no key here'],
  ])("are refused where they can't be: %s", async (text, why) => {
    await expect(parseConfig(text, "capstan.yaml")).rejects.toThrow(why);
  });

  test("may list each other without a circle, one of them twice", async () => {
    const agent = (more: string): string => `{ description: d, instructions: i, ${more} }`;
    const text = `host: { agents: { a: ${agent("agents: [b, c]")}, b: ${agent("agents: [c]")}, c: ${agent("tools: []")} } }`;
    await expect(parseConfig(text, "capstan.yaml")).resolves.toBeDefined();
  });
});

import { expect, test } from "vitest";
import { checkAgents } from "../../../src/host/agents/check.ts";
import { HostConfig } from "../../../src/host/config.ts";
import { tempFolder } from "../../support/temp.ts";

const about = { description: "d", instructions: "Do it." };
const tools = ["read_file", "send", "agent_small", "agent_wide"].map((name) => ({ name, pin: "p", argumentNames: [] }));

/** What is wrong with the agent `a` beside others. */
async function problemsOf(a: object): Promise<readonly string[]> {
  await using home = await tempFolder();
  const small = { ...about, tools: ["read_*"] };
  const { agents } = HostConfig.parse({ agents: { a, small, wide: { ...about, tools: ["read_file", "send"] } } });
  const around = { home: home.path, tools, mayCome: (pattern: string) => pattern.startsWith("away__") };
  const [checked, ...others] = await checkAgents(agents, around);
  expect([checked?.name, others.flatMap(({ problems }) => problems)]).toEqual(["a", []]);
  return checked?.problems ?? [];
}

test.each([
  [{ tools: ["read_*", "send", "away__tool"], agents: ["small", "wide"] }, []],
  [{ agents: ["wide"] }, []],
  [{ tools: ["raed_file", "read_*"] }, ["raed_file in its tools names no tool."]],
  [{ tools: ["none_*"] }, ["none_* in its tools names no tool."]],
  [
    { tools: ["read_*"], agents: ["small", "wide"] },
    ["agent_wide uses send, which is not among its own tools, so it can't start it."],
  ],
  [
    { instructions: "{{ whom }}", tools: [] },
    [expect.stringContaining("they use whom, which is no variable of it. It declares none.")],
  ],
  [{ instructions: "{% if %}", tools: ["x"] }, [expect.stringContaining("of the agent a can't"), expect.anything()]],
  [{ instructions: { file: "agents/a.liquid" } }, [expect.stringContaining("agents/a.liquid in the home, can't be")]],
])("checkAgents() tells what is wrong with %o", async (more, problems) => {
  expect(await problemsOf({ ...about, ...more })).toEqual(problems);
});

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const config = `
host:
  agents:
    counter:
      description: Counts
      instructions: You count in {{ language }}.
      variables: { language: {} }
      tools: [calculator]
      asTool: true
    broken:
      description: Is broken
      instructions: "{{ whom }}"
`;

async function openHome() {
  const home = await tempFolder();
  writeFileSync(join(home.path, "capstan.yaml"), config);
  return home;
}

describe("capstan run --agent", () => {
  test("does the task as the agent, with its tools and no others", async () => {
    await using home = await openHome();
    const as = ["--agent", "counter", "--var", "language=French"];
    const counted = await capstan(home.path, ["run", 'calculator {"expression":"6*7"}', ...as, "--json"]);
    const outcome = JSON.parse(counted.stdout);
    expect(outcome).toMatchObject({ status: "done", answer: expect.stringContaining("42") });
    const shown = await capstan(home.path, ["runs", "show", outcome.runId, "--json"]);
    expect(JSON.parse(shown.stdout)).toMatchObject([
      { agent: { name: "counter", version: 1 }, system: expect.stringMatching(/\n\nYou count in French\.$/) },
      ...Array.from({ length: JSON.parse(shown.stdout).length - 1 }, () => ({})),
    ]);
    const other = await capstan(home.path, ["run", "todo_list {}", ...as]);
    expect([other.code === 0, other.stdout]).toEqual([false, ""]);
    expect((await capstan(home.path, ["run", "todo_list {}"])).code).toBe(0);
  });

  test("starts an agent as a tool, where the grant names it", async () => {
    await using home = await openHome();
    const args = { task: 'calculator {"expression":"6*7"}', variables: { language: "French" } };
    const task = `agent_counter ${JSON.stringify(args)}`;
    const allowed = await capstan(home.path, ["run", task, "--allow", "agent_counter"]);
    expect(allowed).toMatchObject({ code: 0, stdout: expect.stringContaining("42") });
    expect((await capstan(home.path, ["run", task])).code).not.toBe(0);
  });

  test("waits with the run of its agent, and goes on with it", async () => {
    await using home = await openHome();
    const grant = ["--allow", "agent_counter", "--allow", "calculator", "--ask", "calculator", "--name", "careful"];
    expect((await capstan(home.path, ["grant", "create", ...grant])).code).toBe(0);
    const args = { task: 'calculator {"expression":"6*7"}', variables: { language: "French" } };
    const run = ["run", `agent_counter ${JSON.stringify(args)}`, "--as", "careful"];
    const { code, stderr } = await capstan(home.path, run);
    const [, inner = "", call = ""] = /runs approve (run_\w+) (call_\w+)/.exec(stderr) ?? [];
    const [, outer = ""] = /runs resume (run_\w+)/.exec(stderr) ?? [];
    expect([code, inner === outer]).toEqual([75, false]);
    const approved = await capstan(home.path, ["runs", "approve", inner, call]);
    expect(approved).toMatchObject({ code: 0, stderr: expect.stringContaining(`runs resume ${outer}`) });
    const resumed = await capstan(home.path, ["runs", "resume", outer, "--allow", "agent_counter"]);
    expect(resumed).toMatchObject({ code: 0, stdout: expect.stringContaining("42") });
    expect(await capstan(home.path, [...run, "--yes"])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("42"),
    });
  });

  test("says what is wrong before anything begins", async () => {
    await using home = await openHome();
    const wrong: readonly (readonly [readonly string[], number, string])[] = [
      [["--agent", "conuter"], 2, 'There is no agent "conuter". Did you mean "counter"?'],
      [["--agent", "counter"], 2, "language is missing. Say it: --var language=VALUE"],
      [["--agent", "counter", "--var", "language"], 2, "--var takes NAME=VALUE"],
      [["--agent", "broken"], 3, "undefined variable: whom"],
    ];
    for (const [as, code, text] of wrong) {
      const ended = await capstan(home.path, ["run", "calculator 1+1", ...as]);
      expect(ended).toMatchObject({ code, stdout: "", stderr: expect.stringContaining(text) });
    }
    expect((await capstan(home.path, ["runs", "ls", "--json"])).stdout.trim()).toBe("[]");
  });
});

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

describe("capstan agents", () => {
  test("keeps an agent by its file, in versions that stay, and only for the operator", async () => {
    await using home = await openHome();
    const file = join(home.path, "adder.yaml");
    const set = async (text: string) => {
      writeFileSync(file, text);
      return await capstan(home.path, ["agents", "set", file]);
    };
    const adder = "name: adder\ndescription: Adds\ninstructions: |\n  You add.\ntools: [calculator]\n";
    expect((await set(adder)).stderr).toContain("adder is kept as version 1.");
    const shown = await capstan(home.path, ["agents", "show", "adder"]);
    // What is printed is such a file.
    expect((await set(shown.stdout)).stderr).toContain("version 1.");
    expect((await set(shown.stdout.replace("You add.", "You sum."))).stderr).toContain("version 2.");
    expect((await capstan(home.path, ["agents", "ls"])).stdout).toBe(
      "counter  not used yet\nbroken  not used yet\nadder  version 2\n",
    );
    const first = await capstan(home.path, ["agents", "show", "adder", "--version", "1", "--json"]);
    expect(JSON.parse(first.stdout)).toMatchObject({ version: 1, definition: { instructions: "You add.\n" } });

    const sum = (name: string) => capstan(home.path, ["run", 'calculator {"expression":"6*7"}', "--agent", name]);
    expect(await sum("adder")).toMatchObject({ code: 0, stdout: expect.stringContaining("42") });
    expect((await capstan(home.path, ["agents", "rm", "adder"])).code).toBe(0);
    expect(await sum("adder")).toMatchObject({ code: 2, stdout: "" });
    expect(await sum("adder@1")).toMatchObject({ code: 0, stdout: expect.stringContaining("42") });

    const made = await capstan(home.path, ["grant", "create", "--allow", "*", "--read", home.path]);
    const held = ["--grant", made.stdout.trim(), "agents"];
    for (const words of [["ls"], ["show", "adder@1"], ["set", file], ["rm", "adder"]]) {
      expect(await capstan(home.path, [...held, ...words]), words[0]).toMatchObject({ code: 6, stdout: "" });
    }
  });

  test.each([
    ["instructions: You add.", 2, "says no name"],
    ["- adder", 2, "holds no agent"],
    ["[", 2, "is no YAML"],
    ["name: adder", 3, "description: expected a string"],
    ["name: adder\ndescription: Adds\ninstructions: '{{ whom }}'", 3, "they use whom, which is no variable of it"],
    ["name: counter\ndescription: Counts\ninstructions: You count.", 3, "is one of the config"],
  ])("keeps nothing of a file that holds %j", async (text, code, said) => {
    await using home = await openHome();
    const file = join(home.path, "wrong.yaml");
    writeFileSync(file, text);
    const ended = await capstan(home.path, ["agents", "set", file]);
    expect(ended).toMatchObject({ code, stdout: "", stderr: expect.stringContaining(said) });
  });
});

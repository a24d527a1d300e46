import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

/** Names of files are other people's words; to delete is to destroy, so it asks after those. */
const readNames = (folder: string) => ["tools", "call", "fs_list", JSON.stringify({ path: folder })];
const destroy = ["tools", "call", "todo_delete", JSON.stringify({ id: "11111111-1111-4111-8111-111111111111" })];

async function create(home: string, ...options: readonly string[]): Promise<string> {
  const ended = await capstan(home, ["grant", "create", ...options]);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout.trim();
}

describe("capstan grant create --tainted", () => {
  test("lets a tool that destroys be called after untrusted content; without it the call waits for a person", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const common = ["--allow", "fs_list", "--allow", "todo_*", "--read", folder.path];
    const free = await create(home.path, ...common, "--tainted", "todo_delete");
    const asking = await create(home.path, ...common);
    for (const token of [free, asking]) {
      const act = (command: readonly string[]) => capstan(home.path, ["--grant", token, ...command]);
      expect((await act(destroy)).code).toBe(0);
      expect((await act(readNames(folder.path))).code).toBe(0);
      const after = await act(destroy);
      expect(after.code, after.stderr).toBe(token === free ? 0 : 75);
    }
  });

  test("derives to less and never to more, and is said in words", async () => {
    await using home = await tempFolder();
    const parent = await create(home.path, "--allow", "todo_*", "--tainted", "todo_delete");
    const derive = (...options: string[]) => capstan(home.path, ["grant", "derive", parent, ...options]);
    const show = async (token: string) => (await capstan(home.path, ["grant", "show", token.trim()])).stdout;
    const said = "May call todo_delete with any arguments, also after untrusted content without asking.";
    const [first] = (await show(parent)).split("\n");
    expect(first).toMatch(/; untrusted content makes no call of todo_delete ask\.$/);
    for (const options of [[], ["--tainted", "todo_*"], ["--tainted", "todo_delete"]]) {
      const kept = await show((await derive(...options)).stdout);
      expect(kept).toContain(said);
      expect(kept.match(/without asking/g)).toHaveLength(1);
    }
    expect(await show((await derive("--allow", "todo_add")).stdout)).not.toContain("without asking");
    const more = await derive("--tainted", "todo_update");
    expect(more).toMatchObject({ code: 6, stdout: "" });
    expect(more.stderr).toContain("rights.tools.todo_update.tainted");
    const under = await capstan(home.path, ["--grant", parent, "grant", "create", "--allow", "todo_*"]);
    expect(await show(under.stdout)).not.toContain("without asking");
  });

  test("names allowed tools", async () => {
    await using home = await tempFolder();
    const options = ["--allow", "todo_add", "--tainted", "todo_delete"];
    const ended = await capstan(home.path, ["grant", "create", ...options]);
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toContain('"todo_delete" names no allowed tool. The allowed tools are: todo_add.');
  });
});

describe("permissions.tainted", () => {
  async function configure(home: string, permissions: object): Promise<void> {
    await chmod(home, 0o700);
    await writeFile(join(home, "capstan.yaml"), JSON.stringify({ permissions }));
  }

  test("frees tools of the operator's own grant, for a run of code that read names too", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const shown = async () => (await capstan(home.path, ["grant", "show"])).stdout;
    expect(await shown()).not.toContain("without asking");
    await configure(home.path, { read: [folder.path], tainted: ["todo_*", "run_agent"] });
    expect((await shown()).match(/without asking/g)).toHaveLength(4);
    const code = `await tools.fs_list({ path: ${JSON.stringify(folder.path)} }); (await tools.todo_delete(${destroy[3]})).deleted`;
    const execute = ["tools", "call", "execute_code", JSON.stringify({ language: "javascript", code })];
    expect((await capstan(home.path, execute)).stdout).toContain('"result": false');
    await configure(home.path, { read: [folder.path] });
    expect((await capstan(home.path, execute)).stdout).toContain("permission.approval_needed");
  });

  test("names tools that there are", async () => {
    await using home = await tempFolder();
    await configure(home.path, { tainted: ["todo_remove"] });
    const ended = await capstan(home.path, ["grant", "show"]);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toContain("permissions.tainted in the config");
  });
});

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const task = "show me all my tasks";

test.each([
  ["no-such-file.json", "no-such-file.json can't be read"],
  ['{"type":"nonsense"}', "no JSON Schema"],
])("--schema %s is a slip that nothing is started for", async (schema, said) => {
  await using home = await tempFolder();
  const ended = await capstan(home.path, ["run", task, "--schema", schema]);
  expect(ended).toMatchObject({ code: 2, stdout: "" });
  expect(ended.stderr).toContain(said);
});

test("an answer that never fits is no answer on stdout", async () => {
  await using home = await tempFolder();
  const ended = await capstan(home.path, ["run", task, "--schema", '{"type":"integer"}']);
  expect(ended).toMatchObject({ code: 1, stdout: "" });
  expect(ended.stderr).toContain("run.bad_answer: The answer can't be used: it is no JSON, or nested too deep.");
});

test("whoever holds a token names no file that it may not read", async () => {
  await using home = await tempFolder();
  await using files = await tempFolder();
  const [open, secret] = [join(files.path, "open"), join(files.path, "secret")];
  for (const folder of [open, secret]) {
    await mkdir(folder);
    await writeFile(join(folder, "a.json"), '{"type":"string","minLength":1000}');
  }
  const made = await capstan(home.path, [
    "grant",
    "create",
    "--allow",
    "run_agent",
    "--allow",
    "todo_list",
    "--read",
    open,
  ]);
  const run = async (folder: string) =>
    await capstan(home.path, ["--grant", made.stdout.trim(), "run", task, "--schema", join(folder, "a.json")]);
  expect(await run(secret)).toMatchObject({ code: 6, stdout: "" });
  // The lawful neighbour gets as far as to an answer.
  expect((await run(open)).stderr).toContain("run.bad_answer");
});

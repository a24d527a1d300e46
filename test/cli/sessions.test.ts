import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

test("a token holds the sessions that --session names, whose files its next process finds", async () => {
  await using home = await tempFolder();
  const create = ["grant", "create", "--allow", "execute_code", "--allow", "session_list", "--session", "work"];
  const made = await capstan(home.path, create);
  expect(made).toMatchObject({ code: 0 });
  const token = join(home.path, "token");
  await writeFile(token, made.stdout, { mode: 0o600 });
  const run = (name: string, args: object) =>
    capstan(home.path, ["--grant", `@${token}`, "tools", "call", name, JSON.stringify(args), "--json"]);
  const code = (session: string, text: string) => run("execute_code", { language: "javascript", code: text, session });
  const first = await code("work", `files.write("a.txt", "kept"); globalThis.x = 1`);
  expect(JSON.parse(first.stdout)).toMatchObject({ structuredContent: { session: { isNew: true, isOver: false } } });
  expect(await code("other", "1")).toMatchObject({ code: 6, stdout: expect.stringContaining("to the session") });
  const second = JSON.parse((await code("work", `[typeof x, files.read("a.txt")]`)).stdout);
  expect(second).toMatchObject({ structuredContent: { result: ["undefined", "kept"], session: { isNew: true } } });
  expect(JSON.stringify(second)).toContain("Capstan was ended. Its file is there.");
  const list = JSON.parse((await run("session_list", {})).stdout);
  expect(list).toMatchObject({ structuredContent: { sessions: [{ name: "work", variables: "gone", files: 1 }] } });
  const operator = await capstan(home.path, ["tools", "call", "session_end", `{"session":"work"}`]);
  expect(operator).toMatchObject({ code: 1, stderr: expect.stringContaining("session.unknown") });
});

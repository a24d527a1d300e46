import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { delta, openSseServer, sseHead, toSse } from "../host/sse-server.ts";
import { bin, capstan, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const task = "Add a todo to buy milk, then show me all my tasks";

/** The command that a hint names, typed into a shell as it was printed. */
function type(stderr: string, before: string, stdin = ""): string {
  const [, command] = new RegExp(`${before}: (capstan .*)$`, "m").exec(stderr) ?? [];
  if (command === undefined) throw new Error(`There is no "${before}" in: ${stderr}`);
  const script = `capstan() { "${process.execPath}" "${bin}" "$@"; }\n${command} 2>&1`;
  return execFileSync("sh", ["-c", script], {
    env: { PATH: process.env["PATH"] },
    encoding: "utf8",
    input: stdin,
  });
}

describe("the commands that a command names", () => {
  test("do as printed, in the home and under the config and the folders that were named", async () => {
    await using folder = await tempFolder();
    const home = join(folder.path, "it's my home");
    const config = join(folder.path, "my config.yaml");
    const shared = join(folder.path, "my files");
    mkdirSync(shared);
    writeFileSync(config, "host: { limits: { turns: 7 } }\n");
    const options = ["--config", config];
    const rights = ["--allow", "todo_*", "--ask", "todo_add", "--name", "careful"];
    expect((await capstan(home, [...options, "grant", "create", ...rights])).stderr).toContain(
      `Saved. Use it with: capstan --home '${folder.path}/it'\\''s my home' --config '${config}' serve --as careful`,
    );
    const asked = await capstan(home, [...options, "run", task, "--as", "careful", "--root", shared]);
    expect(asked.code, asked.stderr).toBe(75);
    expect(asked.stderr).toMatch(new RegExp(`. Then go on with: capstan .* --root '${shared}'$`, "m"));

    const approved = type(asked.stderr, "To allow it");
    expect(approved).toContain("Approved");
    expect(type(approved, "Approved, for ten minutes. Go on with")).toContain("buy milk");
  });

  test("go on under the grant that the run was begun under, with tools that are not the operator's by default", async () => {
    await using home = await tempFolder();
    const rights = ["--allow", "todo_*", "--allow", "run_agent", "--ask", "todo_add", "--name", "careful"];
    await capstan(home.path, ["grant", "create", ...rights]);
    const handed = 'run_agent {"task":"Add a todo to buy milk"}';
    const asked = await capstan(home.path, ["run", handed, "--as", "careful"]);
    expect(asked.code, asked.stderr).toBe(75);
    const approved = type(asked.stderr, "To allow it");
    expect(approved).toMatch(/ --as careful\n$/);
    expect(type(approved, "Go on with")).toMatch(/done, 2 turns[^]* --as careful\n$/);
    expect((await capstan(home.path, ["tools", "call", "todo_list"])).stdout).toContain("buy milk");
  });

  test("name the file of a token, and ask for one that is nowhere to be found", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const file = join(folder.path, "my token");
    const rights = ["--allow", "todo_*", "--ask", "todo_add", "--read", folder.path];
    const { stdout: token } = await capstan(home.path, ["grant", "create", ...rights]);
    writeFileSync(file, token);
    const flags = ["--allow", "todo_*"];

    const asked = await capstan(home.path, ["--grant", `@${file}`, "run", task, ...flags]);
    expect(asked.code, asked.stderr).toBe(75);
    expect(type(asked.stderr, "To allow it")).toContain("Approved");
    const resumed = type(asked.stderr, "Then go on with");
    expect(resumed).toMatch(/: done, 3 turns, 2 tool calls/);
    expect(type(resumed, "Go on with", "show me all my tasks\n")).toContain("buy milk");

    // A token in the arguments is not printed: what is printed asks for it.
    const again = await capstan(home.path, ["--grant", token.trim(), "run", task]);
    expect([again.code, again.stderr.includes(token.trim())]).toEqual([75, false]);
    const approved = type(again.stderr, "To allow it");
    expect(type(approved, "Go on with", token)).toMatch(/: done, 3 turns, 2 tool calls/);
  });

  test.skipIf(process.platform === "win32")("goes on with a run whose log could not be written", async () => {
    await using folder = await tempFolder();
    const home = join(folder.path, "my home");
    expect((await capstan(home, ["runs", "ls"])).code).toBe(0);
    await using server = await openSseServer((response) => {
      const words = Array.from({ length: 400 }, (_, index) => delta({ content: `${index} `.repeat(2_000) }));
      response.writeHead(200, sseHead).end(toSse([...words, delta({}, "stop")]));
    });
    const model = ["--model", "openai-compatible:m", "--base-url", server.baseUrl];
    // No file of the process may grow beyond a megabyte, and the answer is larger.
    const script = [
      "-c",
      'ulimit -f 1000; "$@"',
      "sh",
      process.execPath,
      bin,
      "--home",
      home,
      "run",
      "hello",
      ...model,
    ];
    const child = spawn("sh", script, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
    const stderr = await text(child.stderr);
    expect(stderr).toContain("has stopped where its log ends.");
    const [, at = "", runId = ""] = /Then go on with: capstan --home '(.*)' runs resume (run_\w+)$/m.exec(stderr) ?? [];
    expect(await capstan(at, ["runs", "resume", runId])).toMatchObject({ code: 0 });
  });

  test("go on with what was begun under a token with that token alone", async () => {
    await using home = await tempFolder();
    const create = async () =>
      (await capstan(home.path, ["grant", "create", "--allow", "todo_*", "--ask", "todo_add"])).stdout.trim();
    const [token, other] = [await create(), await create()];
    const { stdout } = await capstan(home.path, ["--grant", token, "run", task, "--json"]);
    const { runId } = JSON.parse(stdout);
    expect(await capstan(home.path, ["--grant", other, "runs", "resume", runId])).toMatchObject({
      code: 6,
      stdout: "",
    });
    expect(await capstan(home.path, ["--grant", token, "runs", "resume", runId])).toMatchObject({
      code: 75,
      stdout: "",
    });
  });
});

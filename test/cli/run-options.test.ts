import { execFileSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { delta, openSseServer, sseHead, toSse } from "../host/sse-server.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

test("--yes releases what the grant marks, and never a call that can destroy after untrusted content", async () => {
  await using home = await tempFolder();
  const rights = ["--allow", "todo_*", "--ask", "todo_add", "--ask", "todo_delete", "--name", "careful"];
  expect((await capstan(home.path, ["grant", "create", ...rights])).code).toBe(0);
  const as = ["--as", "careful", "--yes", "--json"];
  const added = await capstan(home.path, ["run", "Add a todo to buy milk", ...as]);
  expect(added.code, added.stderr).toBe(0);
  expect(JSON.parse(added.stdout)).toMatchObject({ status: "done", toolCalls: 1 });

  const remove = ["run", 'todo_delete {"id":"00000000-0000-4000-8000-000000000000"}', ...as];
  expect(JSON.parse((await capstan(home.path, remove)).stdout)).toMatchObject({ status: "done", toolCalls: 1 });
  const tainted = await capstan(home.path, remove, { stdin: "a page from somewhere" });
  expect(tainted.code, tainted.stderr).toBe(75);
  const { runId, pending } = JSON.parse(tainted.stdout);
  expect(pending).toMatchObject([{ name: "todo_delete", why: "untrusted" }]);
  // Resuming is no way around it.
  expect((await capstan(home.path, ["runs", "resume", runId, "--yes"])).code).toBe(75);
});

test("--dry-run shows the run and starts none", async () => {
  await using home = await tempFolder();
  const dry = await capstan(home.path, ["run", "show me all my tasks", "--dry-run", "--json", "--max-turns", "7"]);
  expect(dry.code, dry.stderr).toBe(0);
  const plan = JSON.parse(dry.stdout);
  expect(plan).toMatchObject({ model: "planner", limits: { turns: 7 }, reserved: null, problems: [] });
  expect(plan.tools).toContain("todo_list");
  expect((await capstan(home.path, ["runs", "ls"])).stdout).toBe("");
  // Nothing listens there: a model is asked neither.
  const model = ["--model", "openai-compatible:m", "--base-url", "http://127.0.0.1:9/v1", "--max-tokens", "100"];
  const metered = await capstan(home.path, ["run", "hello", "--dry-run", "--allow", "todo_list", ...model]);
  expect(metered.code, metered.stderr).toBe(0);
  expect(metered.stdout).toMatch(/For the first turn are reserved: \d+ tokens in \(estimated\), 100 out/);
  expect(metered.stdout).toContain("May call todo_list");
});

test("a picture and settings go to the model; the picture is untrusted", async () => {
  await using home = await tempFolder();
  await using server = await openSseServer((response) => {
    response.writeHead(200, sseHead).end(toSse([delta({ content: "A dot." }), delta({}, "stop")]));
  });
  const file = join(home.path, "dot.png");
  writeFileSync(file, "not looked at");
  const settings = ["--temperature", "0.5", "--max-tokens", "99", "--reasoning", "low"];
  const model = ["--model", "openai-compatible:m", "--base-url", server.baseUrl];
  const ended = await capstan(home.path, ["run", "What is it?", "--image", file, ...settings, ...model, "--json"]);
  expect(JSON.parse(ended.stdout)).toMatchObject({ status: "done", answer: "A dot.", taint: ["attachment"] });
  const [request] = server.requests;
  expect(JSON.parse(request?.body ?? "")).toMatchObject({ temperature: 0.5, reasoning_effort: "low" });
  expect(request?.body).toMatch(/"max_(completion_)?tokens":99/);
  expect(request?.body).toContain(`data:image/png;base64,${Buffer.from("not looked at").toString("base64")}`);
});

test.each([
  [["--temperature", "9"], "--temperature"],
  [["--temperature", ""], "--temperature"],
  [["--image", "notes.txt"], "--image takes .png"],
  [["--var", "name"], "--var takes NAME=VALUE"],
  [["--json", "--jsonl"], "cannot be used with option '--json'"],
  [["--dry-run", "--jsonl"], "cannot be used with option '--dry-run'"],
])("%j is a slip that nothing is started for", async (options, said) => {
  await using home = await tempFolder();
  const ended = await capstan(home.path, ["run", "show me all my tasks", ...options]);
  expect(ended).toMatchObject({ code: 2, stdout: "" });
  expect(ended.stderr).toContain(said);
});

test.skipIf(process.platform === "win32")("a pipe and a device are no files, and are not waited for", async () => {
  await using home = await tempFolder();
  const at = (name: string): string => join(home.path, name);
  execFileSync("sh", ["-c", 'mkfifo "$1"', "sh", at("pipe.png")]);
  symlinkSync("/dev/zero", at("zero.png"));
  for (const [option, file] of [
    ["--image", at("pipe.png")],
    ["--image", at("zero.png")],
    ["--schema", at("pipe.png")],
    ["--schema", "/dev/zero"],
  ] as const) {
    const ended = await capstan(home.path, ["run", "show me all my tasks", option, file]);
    expect(ended).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining(`${file} is no plain file.`) });
  }
});

test("whoever holds a token follows no link out of what it may read", async () => {
  await using home = await tempFolder();
  await using open = await tempFolder();
  writeFileSync(join(home.path, "secret.png"), "secret");
  writeFileSync(join(open.path, "own.png"), "own");
  symlinkSync(join(home.path, "secret.png"), join(open.path, "link.png"));
  const made = await capstan(home.path, ["grant", "create", "--allow", "todo_list", "--read", open.path]);
  const run = (name: string) =>
    capstan(home.path, [
      "--grant",
      made.stdout.trim(),
      "run",
      "show me all my tasks",
      "--image",
      join(open.path, name),
    ]);
  expect(await run("link.png")).toMatchObject({ code: 6, stdout: "" });
  expect(await run("own.png")).toMatchObject({ code: 0 });
});

test("--max-cost is named where it ends a run, and where it can't", async () => {
  await using home = await tempFolder();
  await using server = await openSseServer((response) => {
    response.writeHead(200, sseHead).end(toSse([delta({ content: "A dot." }), delta({}, "stop")]));
  });
  const model = ["--model", "openai-compatible:m", "--base-url", server.baseUrl];
  const run = () => capstan(home.path, ["run", "hello", ...model, "--max-cost", "0.0001"]);
  const free = await run();
  expect(free).toMatchObject({ code: 0, stdout: "A dot.\n" });
  expect(free.stderr).toContain("--max-cost does not hold for openai-compatible:m, whose price is not known.");
  writeFileSync(
    join(home.path, "capstan.yaml"),
    JSON.stringify({ host: { prices: { "openai-compatible:m": { input: 1, output: 10 } } } }),
  );
  const refused = await run();
  expect(refused).toMatchObject({ code: 5, stdout: "" });
  expect(refused.stderr).toMatch(/^budget\.cost: The run has used 0\.000000 USD of its 0\.000100 USD, .* --max-cost/m);
  expect(refused.stderr).not.toContain("does not hold");
});

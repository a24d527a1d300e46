import { writeFileSync } from "node:fs";
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
])("%j is a slip that nothing is started for", async (options, said) => {
  await using home = await tempFolder();
  const ended = await capstan(home.path, ["run", "show me all my tasks", ...options]);
  expect(ended).toMatchObject({ code: 2, stdout: "" });
  expect(ended.stderr).toContain(said);
});

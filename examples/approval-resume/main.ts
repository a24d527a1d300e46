import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { temporaryHome } from "../temporary-home.ts";

await using home = await temporaryHome();
const bin = join(import.meta.dirname, "../../bin/capstan.js");

/** One command in a process of its own, as from a shell: nothing but the home lives on between two. */
function capstan(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, "--home", home.path, ...args], {
    encoding: "utf8",
    input: "",
  });
  return { status, stdout, stderr };
}

// A grant under which each new todo asks a person.
const grant = ["--allow", "todo_add", "--allow", "todo_list", "--ask", "todo_add", "--name", "careful"];
assert.equal(capstan("grant", "create", ...grant).status, 0);

// Nobody is there to be asked: the run is suspended, and says by which commands it goes on.
const started = capstan("run", "Add a todo to buy milk, then show me all my tasks", "--as", "careful");
assert.equal(started.status, 75, started.stderr);
const [, run = "", call = ""] = /runs approve (run_\w+) (call_\w+)/.exec(started.stderr) ?? [];
assert.ok(run !== "" && call !== "", started.stderr);

// Resuming approves nothing, and neither does an approval of another call.
assert.equal(capstan("runs", "resume", run).status, 75);
assert.equal(capstan("runs", "approve", run, "call_other").status, 2);
assert.doesNotMatch(capstan("tools", "call", "todo_list", "{}").stdout, /milk/);

// One word releases this one call, once, and the run goes on where it was.
assert.equal(capstan("runs", "approve", run, call).status, 0);
const ended = capstan("runs", "resume", run);
assert.equal(ended.status, 0, ended.stderr);
assert.match(ended.stdout, /milk/);
assert.equal(capstan("runs", "approve", run, call).status, 2);
assert.equal(capstan("runs", "resume", run).status, 2);
assert.equal(capstan("tools", "call", "todo_list", "{}").stdout.match(/buy milk/g)?.length, 1);
console.log("approval-resume: asked in one process, approved in the next, done in a third");

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryHome } from "../temporary-home.ts";

// An MCP server behind Capstan: its tools stand behind the same door as the built-in ones, and what it changes waits for a person.
await using home = await temporaryHome();
await using folder = await temporaryHome();
const server = new URL("notes-server.ts", import.meta.url).pathname;
const bin = join(import.meta.dirname, "../../bin/capstan.js");
function capstan(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, "--home", home.path, ...args], {
    encoding: "utf8",
    input: "",
  });
  return { code: status, stdout, stderr };
}
const succeed = (...args: readonly string[]): string => {
  const { code, stdout, stderr } = capstan(...args);
  assert.equal(code, 0, stderr);
  return stdout;
};

// What the operator says of its tools counts, what the server says does not: only `list` is known to change nothing.
await writeFile(
  join(home.path, "capstan.yaml"),
  `mcp:
  servers:
    notes:
      command: ${JSON.stringify(process.execPath)}
      args: ${JSON.stringify([server, folder.path])}
      tools:
        list: { effect: read, sink: false }
`,
);

// No grant holds its tools by itself.
assert.doesNotMatch(succeed("tools", "ls"), /notes__/);
assert.match(succeed("tools", "ls", "--allow", "notes__*"), /notes__add.*\n.*notes__clear.*\n.*notes__list/);

// Whoever holds this token adds and reads notes. To clear them is no tool for it.
const token = succeed("grant", "create", "--allow", "notes__add", "--allow", "notes__list").trim();
const call = (name: string, args: object) => capstan("--grant", token, "tools", "call", name, JSON.stringify(args));
assert.match(call("notes__add", { note: "buy milk" }).stdout, /Kept: buy milk/);
assert.match(call("notes__list", {}).stdout, /buy milk/);
const cleared = call("notes__clear", {});
assert.equal(cleared.code, 2);
assert.match(cleared.stderr, /tool\.unknown/);
assert.match(call("notes__list", {}).stdout, /buy milk/);

// What the server answered is untrusted. A tool that may send it somewhere asks from now on.
assert.equal(call("notes__add", { note: "buy more" }).code, 75);

// The server is updated and says something else of `add`: that tool is blocked, and the others are not.
await writeFile(join(folder.path, "updated"), "");
assert.match(call("notes__list", {}).stdout, /buy milk/);
assert.doesNotMatch(succeed("tools", "ls", "--allow", "notes__*"), /notes__add/);
const difference = capstan("tools", "diff");
assert.equal(difference.code, 1);
assert.match(difference.stdout, /^- description: Keeps a note\.\n\+ description: Keeps a note\. Put what you know/m);
succeed("tools", "approve", "notes__add", "--yes");
succeed("tools", "diff");
// The token was made for the old definition. A new one holds the new.
assert.equal(call("notes__add", { note: "old" }).code, 2);
const renewed = succeed("grant", "create", "--allow", "notes__add").trim();
assert.match(succeed("--grant", renewed, "tools", "call", "notes__add", '{"note":"new"}'), /Kept: new/);
console.log("bridge: notes__add under a token, notes__clear beyond it, a changed tool blocked until it was approved");

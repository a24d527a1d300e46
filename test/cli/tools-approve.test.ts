import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { bin, capstan, environment } from "../support/capstan.ts";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";

const code = `let told; try { told = (await tools.todo_add({ text: "milk" })).text } catch (error) { told = error.code } told`;
const call = ["tools", "call", "execute_code", JSON.stringify({ language: "javascript", code, timeoutMs: 2_000 })];

/** A home with a grant that asks before it adds a todo. */
async function openHome() {
  const home = await tempFolder();
  const rights = ["--allow", "execute_code", "--allow", "todo_*", "--ask", "todo_add", "--approve", "todo_add"];
  const made = await capstan(home.path, ["grant", "create", ...rights, "--name", "asks", "--ttl", "1h"]);
  expect(made.code).toBe(0);
  return home;
}

/** Makes the call on a terminal, where a person types `answer` so long after the question. */
async function callOnTerminal(home: string, answer: string, afterMs: number): Promise<string> {
  const words = [process.execPath, bin, "--home", home, ...call, "--as", "asks"];
  const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  const child = spawn("script", ["-qec", `stty cols 120; ${quoted}`, "/dev/null"], {
    env: { ...environment, TERM: "xterm" },
    timeout: 60_000,
  });
  let shown = "";
  let isAnswered = false;
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    shown += part;
    if (isAnswered || !shown.includes("Let this call run, once?")) return;
    isAnswered = true;
    setTimeout(() => child.stdin.write(answer), afterMs);
  });
  await Promise.all([text(child.stderr), new Promise((resolve) => child.on("close", resolve))]);
  return shown;
}

testWith("terminal")("a person at a terminal approves a call that code makes, and the code waits as long", async () => {
  await using home = await openHome();
  const allowed = await callOnTerminal(home.path, "y", 2_500);
  expect(allowed).toContain('"text": "milk"');
  expect(allowed).toContain('"result": "milk"');
  const refused = await callOnTerminal(home.path, "n", 0);
  expect(refused).toContain('"result": "permission.approval_refused"');
});

test("where there is no terminal the code hears at once that a person is needed", async () => {
  await using home = await openHome();
  const { code: exit, stdout } = await capstan(home.path, [...call, "--as", "asks"]);
  expect(exit).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ result: "permission.approval_needed" });
});

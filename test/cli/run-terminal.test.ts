import { writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { delta, openSseServer, sseHead, toSse } from "../host/sse-server.ts";
import { capstan, compiled } from "../support/capstan.ts";
import { describeWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { onTerminal } from "../support/terminal.ts";

const stubborn = fileURLToPath(new URL("stubborn-server.ts", import.meta.url));
const model = (baseUrl: string) => ["--model", "openai-compatible:m", "--base-url", baseUrl];
const say = (response: ServerResponse, ...words: readonly string[]): void => {
  const chunks = words.map((word) => delta({ content: word }));
  response.writeHead(200, sseHead).end(toSse([...chunks, delta({}, "stop")]));
};
const count = (text: string, part: string): number => text.split(part).length - 1;

/** A home with a grant that asks before it adds a todo. */
async function openHome() {
  const home = await tempFolder();
  const rights = ["--allow", "todo_*", "--ask", "todo_add", "--name", "careful"];
  expect((await capstan(home.path, ["grant", "create", ...rights])).code).toBe(0);
  return home;
}

const task = "Add a todo to buy milk, then show me all my tasks";

describeWith("terminal")("capstan run on a terminal", () => {
  test("shows the answer as it comes, and once", async () => {
    await using home = await tempFolder();
    const rest = Promise.withResolvers<void>();
    await using server = await openSseServer(async (response) => {
      response.writeHead(200, sseHead).write(toSse([delta({ content: "Once upon \u001b[2J" })], false));
      await rest.promise;
      response.end(toSse([delta({ content: "a time." }), delta({}, "stop")]));
    });
    // The model goes on once its first words are on the terminal.
    const { shown, code } = await onTerminal(
      home.path,
      ["run", "tell", ...model(server.baseUrl)],
      [{ after: "Once upon", seen: rest.resolve }],
    );
    expect(code).toBe(0);
    expect(shown).toContain("Once upon \\u{1b}[2Ja time.\n");
    expect(count(shown, "Once upon")).toBe(1);
    expect(shown).toMatch(/run_[0-9a-f]+: done, 1 turn, .*\n$/);
  });

  test("calls void what came of an attempt that failed; a pipe gets the answer alone", async () => {
    await using home = await tempFolder();
    let attempts = 0;
    await using server = await openSseServer((response) => {
      attempts += 1;
      if (attempts % 2 === 0) return say(response, "The whole ", "answer");
      response
        .writeHead(200, sseHead)
        .write(toSse([delta({ content: "Half an ans" })], false), () => response.destroy());
    });
    const { shown, code } = await onTerminal(home.path, ["run", "tell", ...model(server.baseUrl)]);
    expect(code).toBe(0);
    expect(shown).toMatch(/Half an ?\nWhat stands above is void: .*\n[^]*The whole answer\n/);
    expect(count(shown, "The whole answer")).toBe(1);
    const piped = await capstan(home.path, ["run", "tell", ...model(server.baseUrl)]);
    expect(piped).toMatchObject({ code: 0, stdout: "The whole answer\n" });
  });

  test("asks at once, while another call of the same turn still runs", async () => {
    await using home = await tempFolder();
    const by = {
      command: process.execPath,
      args: [stubborn, join(home.path, "pid")],
      env: compiled,
      bubblewrap: "never",
    };
    writeFileSync(join(home.path, "capstan.yaml"), JSON.stringify({ mcp: { servers: { by } } }));
    const rights = ["--allow", "todo_add", "--ask", "todo_add", "--allow", "by__hang", "--name", "careful"];
    // A server's tools are known once it was asked.
    await capstan(home.path, ["tools", "ls", "--allow", "by__*"]);
    const made = await capstan(home.path, ["grant", "create", ...rights]);
    expect(made.code, made.stderr).toBe(0);
    await using server = await openSseServer((response) => {
      const call = (index: number, name: string, args: object): object => {
        return { index, id: `c${index}`, type: "function", function: { name, arguments: JSON.stringify(args) } };
      };
      const tool_calls = [call(0, "by__hang", {}), call(1, "todo_add", { text: "buy milk" })];
      response.writeHead(200, sseHead).end(toSse([delta({ tool_calls }), delta({}, "tool_calls")]));
    });
    const args = ["run", "both", "--as", "careful", ...model(server.baseUrl)];
    const { shown } = await onTerminal(home.path, args, [
      { after: "Let this call run, once?", type: "y" },
      // Ctrl-C, once the call was made.
      { after: 'todo_add {"text":"buy milk"} ', type: "\u0003" },
    ]);
    expect(shown).toMatch(
      /: cancelled, 1 turn, 1 tool call, .*\. Go on with: capstan .* runs resume run_\w+ --as careful\n$/,
    );
    expect((await capstan(home.path, ["tools", "call", "todo_list"])).stdout).toContain("milk");
  });

  test("asks for a call that waits, with its arguments, and does what the person says; no is the default", async () => {
    await using home = await openHome();
    const asks = "Let this call run, once?";
    const args = ["run", task, "--as", "careful"];
    const refused = await onTerminal(home.path, args, [{ after: asks, type: "\r" }]);
    expect(refused.shown).toContain('Arguments: {"text":"buy milk"}');
    expect(refused.shown).toContain("permission.approval_refused");
    expect((await capstan(home.path, ["tools", "call", "todo_list"])).stdout).not.toContain("milk");
    const allowed = await onTerminal(home.path, args, [{ after: asks, type: "y" }]);
    expect(allowed.code, allowed.shown).toBe(0);
    expect(allowed.shown).toContain("buy milk");
    expect((await capstan(home.path, ["tools", "call", "todo_list"])).stdout).toContain("milk");
  });

  test("asks nothing that whoever holds the token may not decide; a token that is asked for is not shown", async () => {
    await using home = await tempFolder();
    const run = async (...rights: readonly string[]) => {
      const { stdout } = await capstan(home.path, [
        "grant",
        "create",
        "--allow",
        "todo_*",
        "--ask",
        "todo_add",
        ...rights,
      ]);
      const token = stdout.trim();
      const typed = { after: "not shown): ", type: `${token}\r` };
      const args = ["--grant", "-", "run", "Add a todo to buy milk"];
      const { shown, code } = await onTerminal(home.path, args, [
        typed,
        { after: "Let this call run, once?", type: "y" },
      ]);
      return { shown, code, isAsked: shown.includes("Let this call run"), isTold: shown.includes(token) };
    };
    const refused = await run();
    expect(refused, refused.shown).toMatchObject({ code: 75, isAsked: false, isTold: false });
    const allowed = await run("--approve", "todo_add");
    expect(allowed, allowed.shown).toMatchObject({ code: 0, isAsked: true, isTold: false });
  });
});

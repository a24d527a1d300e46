import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { delta, openSseServer, sseHead, toSse } from "../host/sse-server.ts";
import { bin, capstan, environment } from "../support/capstan.ts";
import { describeWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { onTerminal } from "../support/terminal.ts";

const Body = z.object({ messages: z.array(z.object({ role: z.string(), content: z.unknown() })) });

/** A model that answers how many messages of the user it was told, and the last of them; it never answers "hang". */
async function openModel() {
  const hanging = Promise.withResolvers<void>();
  const server = await openSseServer((response, _, body) => {
    const said = Body.parse(JSON.parse(body)).messages.filter(({ role }) => role === "user");
    const last = JSON.stringify(said.at(-1)?.content ?? "");
    if (last === '"hang"') return hanging.resolve();
    response.writeHead(200, sseHead).end(toSse([delta({ content: `${said.length}: ${last}` }), delta({}, "stop")]));
  });
  const args = ["--model", "openai-compatible:m", "--base-url", server.baseUrl];
  return { args, hanging: hanging.promise, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

describe("capstan chat through pipes", () => {
  test("answers each line on stdout, knows what was said before, and says how to go on", async () => {
    await using home = await tempFolder();
    await using model = await openModel();
    const { code, stdout, stderr } = await capstan(home.path, ["chat", ...model.args], {
      stdin: "first\n\nsecond\n/exit\nnever said\n",
    });
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: '1: "first"\n2: "second"\n' });
    const typed = (told: string): readonly string[] =>
      /(?:^|\. )Go on with: capstan .* (chat --conversation .*)\n$/m.exec(told)?.[1]?.split(" ") ?? [];
    const later = await capstan(home.path, typed(stderr), { stdin: "third" });
    expect(later.stdout).toBe('3: "third"\n');
    const newest = await capstan(home.path, ["run", "fourth", "--continue", ...model.args]);
    expect(newest.stdout).toBe('4: "fourth"\n');
    expect((await capstan(home.path, typed(newest.stderr), { stdin: "fifth" })).stdout).toBe('5: "fifth"\n');
    expect((await capstan(home.path, ["run", "alone", ...model.args])).stdout).toBe('1: "alone"\n');
  });

  test("tells what a message can't be done for, and goes on with the next", async () => {
    await using home = await tempFolder();
    const { code, stdout, stderr } = await capstan(home.path, ["chat"], {
      stdin: "Contemplate the moon\nAdd a todo to buy milk\n",
    });
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("planner") });
    expect(stdout).toContain("buy milk");
  });

  test("goes on under a grant that may only begin runs, and ends with the exit code of what went wrong", async () => {
    await using home = await tempFolder();
    const rights = ["grant", "create", "--allow", "calculator"];
    const { stdout: token } = await capstan(home.path, rights);
    await capstan(home.path, [...rights, "--name", "sums"]);
    const stdin = "calculate 2 + 2\ncalculate 3 + 3\n";
    const stdout = "2 + 2 = 4\n3 + 3 = 6\n";
    const named = await capstan(home.path, ["chat", "--as", "sums"], { stdin });
    expect(named, named.stderr).toMatchObject({ code: 0, stdout });
    const [, conversation = ""] = /chat --conversation (\S+) --as sums\n$/.exec(named.stderr) ?? [];
    const more = await capstan(home.path, ["chat", "--conversation", conversation, "--as", "sums"], { stdin });
    expect(more, more.stderr).toMatchObject({ code: 0, stdout });
    const held = ["--grant", token.trim()];
    expect(await capstan(home.path, [...held, "chat"], { stdin })).toMatchObject({ code: 0, stdout });
    const strange = await capstan(home.path, [...held, "chat", "--conversation", conversation], { stdin });
    expect(strange).toMatchObject({ code: 2, stdout: "" });
    expect(await capstan(home.path, ["chat", "--model", "nobody:m"], { stdin })).toMatchObject({ code: 3, stdout: "" });
  });

  test("a line that is too long is no message, and the next one is", async () => {
    await using home = await tempFolder();
    const stdin = `calculate ${"1+".repeat(2_500_000)}1\ncalculate 2 + 2`;
    const { code, stdout, stderr } = await capstan(home.path, ["chat"], { stdin });
    expect({ code, stdout }, stderr).toEqual({ code: 0, stdout: "2 + 2 = 4\n" });
    expect(stderr).toContain("usage.bad_option: A line of stdin is longer than 4194304 bytes");
    expect(await capstan(home.path, ["chat"], { stdin: "x".repeat(5_000_000) })).toMatchObject({ code: 2, stdout: "" });
  });

  test("which conversation it goes on with is said once", async () => {
    await using home = await tempFolder();
    await capstan(home.path, ["run", "calculate 1 + 1"]);
    const stdin = "calculate 2 + 2\ncalculate 3 + 3\n";
    const { stderr } = await capstan(home.path, ["chat", "--continue"], { stdin });
    expect(stderr.match(/^Going on with the conversation .*$/gm)).toEqual([
      expect.stringMatching(/^Going on with the conversation (run_\w+), after \1: calculate 1 \+ 1$/),
    ]);
    const run = await capstan(home.path, ["run", "calculate 4 + 4", "--continue"]);
    expect(run.stderr).toMatch(/^Going on with the conversation (run_\w+), after run_\w+: calculate 3 \+ 3\n/);
  });

  test("Ctrl-C ends the turn and stays; SIGTERM ends it all", async () => {
    await using home = await tempFolder();
    await using model = await openModel();
    const child = spawn(process.execPath, [bin, "--home", home.path, "chat", ...model.args], {
      env: environment,
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    const stderr = text(child.stderr);
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => (stdout += part));
    child.stdin.write("hang\n");
    await model.hanging;
    child.kill("SIGINT");
    child.stdin.write("and now?\n");
    await expect.poll(() => stdout).toContain("and now?");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([130, null]);
    expect(await stderr).toMatch(
      /: cancelled, .*\n[^]*: done, .*\n[^]*Go on with: .* chat --conversation run_\w+ .*\n$/,
    );
  });
});

describeWith("terminal")("capstan chat on a terminal", () => {
  test("asks for messages, takes a paste as one, asks inline for a call, and leaves on /exit", async () => {
    await using home = await tempFolder();
    await using model = await openModel();
    const { shown, code } = await onTerminal(
      home.path,
      ["chat", ...model.args],
      [
        { after: "> ", type: "first\r" },
        { after: '1: "first"' },
        { after: "> ", type: "a line\rand another\r" },
        { after: '2: "a line\\nand another"' },
        { after: "> ", type: "/exit\r" },
      ],
    );
    expect(code, shown).toBe(0);
    expect(shown).toMatch(/Go on with: capstan .* chat --conversation run_\w+ .*\n$/);

    const rights = ["--allow", "todo_add", "--ask", "todo_add", "--name", "careful"];
    await capstan(home.path, ["grant", "create", ...rights]);
    const asked = await onTerminal(
      home.path,
      ["chat", "--as", "careful"],
      [
        { after: "> ", type: "Add a todo to buy milk\r" },
        { after: "Let this call run, once?", type: "y" },
        { after: "Added: " },
        // Ctrl-D
        { after: "> ", type: "\u0004" },
      ],
    );
    expect(asked.code, asked.shown).toBe(0);
    expect((await capstan(home.path, ["tools", "call", "todo_list"])).stdout).toContain("milk");
  });

  test("Ctrl-C at the prompt warns, and leaves the second time", async () => {
    await using home = await tempFolder();
    const { shown, code } = await onTerminal(
      home.path,
      ["chat"],
      [
        { after: "> ", type: "half a thought\u0003" },
        { after: "/exit leaves.", type: "\u0003" },
      ],
    );
    expect(code, shown).toBe(0);
  });
});

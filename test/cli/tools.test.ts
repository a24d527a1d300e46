import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const callTool = (home: string, name: string, args: unknown, ...options: readonly string[]) =>
  capstan(home, ["tools", "call", name, JSON.stringify(args), ...options]);

describe("capstan tools", () => {
  test("lists what the operator may call by default, and no more", async () => {
    await using home = await tempFolder();
    const { code, stdout } = await capstan(home.path, ["tools", "ls", "--json"]);
    expect(code).toBe(0);
    const tools: { name: string; outputSchema?: unknown }[] = JSON.parse(stdout);
    expect(tools.map(({ name }) => name)).toEqual(
      [
        ..."search_tools describe_tool calculator execute_code fs_list fs_stat kg_add_facts kg_search session_end session_list todo_add todo_delete todo_list todo_update".split(
          " ",
        ),
      ].sort(),
    );
    for (const tool of tools) expect(tool.outputSchema, tool.name).toBeTypeOf("object");
  });

  test("calls a tool: the value on stdout, nothing on stderr", async () => {
    await using home = await tempFolder();
    const ended = await callTool(home.path, "calculator", { expression: "6*7" });
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.stringify(JSON.parse(ended.stdout))).toContain("42");
  });

  test("prints the whole MCP result with --json", async () => {
    await using home = await tempFolder();
    const { stdout } = await callTool(home.path, "calculator", { expression: "6*7" }, "--json");
    const result = JSON.parse(stdout);
    expect(result.content[0]).toMatchObject({ type: "text" });
    expect(JSON.parse(result.content[0].text)).toEqual(result.structuredContent);
  });

  test.each([
    ["a failure", ["calculator", '{"expression":"1/0"}'], 1, "calculator.domain"],
    ["wrong arguments", ["calculator", '{"expression":5}'], 2, "tool.bad_arguments"],
    ["a refusal", ["fs_stat", '{"paths":["/etc/passwd"]}'], 6, "permission.argument_refused"],
  ])("with --json, %s is a result with its code, and ends with its exit code", async (_, args, exit, code) => {
    await using home = await tempFolder();
    const ended = await capstan(home.path, ["tools", "call", ...args, "--json"]);
    expect(ended).toMatchObject({ code: exit, stderr: "" });
    expect(JSON.parse(ended.stdout)).toMatchObject({
      content: [{ type: "text", text: expect.stringContaining(`${code}: `) }],
      isError: true,
      _meta: { "dev.capstan/code": code },
    });
  });

  test.each([
    ["an unknown tool", ["nothing", "{}"], 2, "tool.unknown"],
    ["text that is no JSON", ["calculator", "{expression:1}"], 2, "usage.bad_option"],
    ["wrong arguments", ["calculator", '{"expresion":"1"}'], 2, "tool.bad_arguments"],
    ["a failure of the tool itself", ["calculator", '{"expression":"1+"}'], 1, "calculator.syntax"],
    ["a file outside the grant", ["fs_stat", '{"paths":["/etc/passwd"]}'], 6, "--root"],
  ])("says what is wrong with %s, with its exit code and nothing on stdout", async (_, args, code, said) => {
    await using home = await tempFolder();
    const ended = await capstan(home.path, ["tools", "call", ...args]);
    expect(ended).toMatchObject({ code, stdout: "" });
    expect(ended.stderr).toContain(said);
    expect(ended.stderr).not.toMatch(/\n\s+at /);
  });

  test("sees a folder that --root names, and nothing beside it", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const inside = await callTool(home.path, "fs_list", { path: folder.path }, "--root", folder.path);
    expect(inside.code).toBe(0);
    const beside = await callTool(home.path, "fs_list", { path: "/etc" }, "--root", folder.path);
    expect(beside.code).toBe(6);
    const missing = await callTool(home.path, "fs_list", {}, "--root", `${folder.path}/nothing`);
    expect(missing.code).not.toBe(0);
    expect(missing.stderr).toContain("nothing");
  });

  test("shows nothing of its own home, even where --root names what is above it", async () => {
    await using user = await tempFolder();
    const home = `${user.path}/.capstan`;
    const beside = await callTool(home, "fs_stat", { paths: [user.path] }, "--root", user.path);
    expect(beside.code).toBe(0);
    const inside = await callTool(home, "fs_stat", { paths: [`${home}/key.json`] }, "--root", user.path);
    expect(inside.code).toBe(6);
    expect(inside.stdout).not.toContain("application/json");
  });
});

describe("capstan", () => {
  test.each([
    ["no command", [], 2],
    ["an unknown command", ["rnu"], 2],
    ["an unknown option", ["run", "x", "--modle", "y"], 2],
    ["help", ["--help"], 0],
    ["the version", ["--version"], 0],
  ])("ends with its exit code for %s", async (_, args, code) => {
    await using home = await tempFolder();
    const ended = await capstan(home.path, args);
    expect(ended.code).toBe(code);
    expect(ended.stdout === "").toBe(code !== 0);
  });

  test("names the config key that was meant, with exit code 3", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const file = `${folder.path}/c.yaml`;
    await (await import("node:fs/promises")).writeFile(file, "sandbox:\n  timeoutMS: 1\n");
    const ended = await capstan(home.path, ["--config", file, "tools", "ls"]);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toContain('did you mean "timeoutMs"?');
  });

  test("reads no config and no .env from the working folder", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const { writeFile } = await import("node:fs/promises");
    await writeFile(`${folder.path}/capstan.yaml`, "nonsense: true\n");
    await writeFile(`${folder.path}/.env`, "CAPSTAN_GRANT=nonsense\n");
    const ended = await capstan(home.path, ["tools", "call", "calculator", '{"expression":"1+1"}'], {
      cwd: folder.path,
    });
    expect(ended.code).toBe(0);
  });
});

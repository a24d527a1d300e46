import { chmod, lstat, mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const install = (home: string, cwd: string, ...options: readonly string[]) =>
  capstan(home, ["install", ...options], { cwd, env: { HOME: cwd } });

describe("capstan install", () => {
  test.each([
    ["claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"],
    ["claude-code", ".mcp.json", "mcpServers"],
    ["cursor", ".cursor/mcp.json", "mcpServers"],
    ["vscode", ".vscode/mcp.json", "servers"],
  ])("writes the entry of %s, with absolute paths and no token", async (client, file, key) => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    await mkdir(join(user.path, "project"));
    await capstan(home.path, ["grant", "create", "--allow", "calculator", "--name", "desk"]);
    const ended = await install(home.path, user.path, "--client", client, "--as", "desk", "--root", "project", "--yes");
    expect(ended.code, ended.stderr).toBe(0);
    const text = await readFile(join(user.path, file), "utf8");
    const entry = JSON.parse(text)[key].capstan;
    expect(entry.command).toBe(process.execPath);
    expect(entry.args.slice(1)).toEqual([
      "--home",
      home.path,
      "serve",
      "--as",
      "desk",
      "--root",
      join(user.path, "project"),
    ]);
    expect(Object.keys(entry).sort()).toEqual(client === "vscode" ? ["args", "command", "type"] : ["args", "command"]);
  });

  test("shows the difference, writes nothing without consent, and keeps what is there", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    const file = join(user.path, ".mcp.json");
    const before = '{"mcpServers":{"other":{"command":"x"}},"more":[1]}';
    await writeFile(file, before, { mode: 0o644 });
    const asked = await install(home.path, user.path, "--client", "claude-code");
    expect(asked.code).toBe(0);
    expect(asked.stdout).toContain('+     "capstan": {');
    expect(await readFile(file, "utf8")).toBe(before);

    const written = await install(home.path, user.path, "--client", "claude-code", "--yes");
    expect(written.code).toBe(0);
    const after = JSON.parse(await readFile(file, "utf8"));
    expect(after).toMatchObject({ mcpServers: { other: { command: "x" } }, more: [1] });
    expect((await lstat(file)).mode & 0o777).toBe(0o644);

    const again = await install(home.path, user.path, "--client", "claude-code", "--yes");
    expect(again.stderr).toContain("already");
    expect(await readdir(user.path)).toEqual([".mcp.json"]);
  });

  test("leaves a file alone that it can't read as plain JSON", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    for (const before of ['// note\n{"mcpServers":{}}', "[]", '{"mcpServers":[]}', "{"]) {
      await writeFile(join(user.path, ".mcp.json"), before);
      const ended = await install(home.path, user.path, "--client", "claude-code", "--yes");
      expect(ended).toMatchObject({ code: 3, stdout: "" });
      expect(await readFile(join(user.path, ".mcp.json"), "utf8")).toBe(before);
    }
  });

  test("writes through a link, and keeps the link", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    await writeFile(join(user.path, "dotfile.json"), "{}");
    await symlink(join(user.path, "dotfile.json"), join(user.path, ".mcp.json"));
    await install(home.path, user.path, "--client", "claude-code", "--yes");
    expect((await lstat(join(user.path, ".mcp.json"))).isSymbolicLink()).toBe(true);
    expect(await readFile(join(user.path, "dotfile.json"), "utf8")).toContain("capstan");
  });

  test("refuses a named grant that is not there, or has ended, and writes nothing", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    const options = ["--client", "claude-code", "--as", "desk", "--yes"];
    const unknown = await install(home.path, user.path, ...options);
    expect(unknown).toMatchObject({ code: 3, stdout: "" });
    expect(unknown.stderr).toMatch(/^token\.unknown_name: .*"desk"/);

    await capstan(home.path, ["grant", "create", "--allow", "calculator", "--name", "desk"]);
    await capstan(home.path, ["grant", "revoke", "desk"]);
    const ended = await install(home.path, user.path, ...options);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toMatch(/^token\.revoked: /);
    expect(await readdir(user.path)).toEqual([]);
  });

  test.each([
    ["cursor", "project", ".cursor/mcp.json"],
    ["cursor", "user", ".cursor/mcp.json"],
    ["vscode", "user", ".config/Code/User/mcp.json"],
  ])("writes the file of %s at the place %s", async (client, place, file) => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    await mkdir(join(user.path, "project"));
    const cwd = join(user.path, "project");
    const ended = await capstan(home.path, ["install", "--client", client, "--place", place, "--yes"], {
      cwd,
      env: { HOME: user.path },
    });
    expect(ended.code, ended.stderr).toBe(0);
    expect(await readFile(join(place === "user" ? user.path : cwd, file), "utf8")).toContain('"capstan"');
  });

  test("refuses a place that a client does not have", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    const ended = await install(home.path, user.path, "--client", "claude-code", "--place", "user", "--yes");
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toContain("claude mcp add --scope user");
    expect(await readdir(user.path)).toEqual([]);
  });

  test("names the file of a token, and never the token", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    const token = (await capstan(home.path, ["grant", "create", "--allow", "calculator"])).stdout.trim();
    const file = join(user.path, "token");
    const options = ["--client", "vscode", "--grant-file", "token", "--yes"];
    expect(await install(home.path, user.path, ...options)).toMatchObject({ code: 3, stdout: "" });
    await writeFile(file, token, { mode: 0o644 });
    const open = await install(home.path, user.path, ...options);
    expect(open).toMatchObject({ code: 3, stdout: "" });
    expect(open.stderr).toContain("chmod 600");
    await chmod(file, 0o600);
    expect((await install(home.path, user.path, ...options)).code).toBe(0);
    const text = await readFile(join(user.path, ".vscode/mcp.json"), "utf8");
    expect(JSON.parse(text).servers.capstan.env).toEqual({ CAPSTAN_GRANT_FILE: file });
    expect(text).not.toContain(token);
  });

  test("gives the entry to add by hand where comments would be lost", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    await mkdir(join(user.path, ".vscode"));
    const file = join(user.path, ".vscode/mcp.json");
    await writeFile(file, '{\n  // mine\n  "servers": {},\n}\n');
    const ended = await install(home.path, user.path, "--client", "vscode", "--yes");
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toContain('add this to "servers" by hand: "capstan": {"type":"stdio"');
    expect(await readFile(file, "utf8")).toContain("// mine");
  });

  test("names the client that was meant", async () => {
    await using home = await tempFolder();
    await using user = await tempFolder();
    const ended = await install(home.path, user.path, "--client", "vs-code");
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toContain('Did you mean "vscode"?');
  });
});

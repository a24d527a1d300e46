import { lstat, mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../src/config.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const configOf = (home: string): string => join(home, "capstan.yaml");
const read = (path: string): Promise<string> => readFile(path, "utf8");

/** What is pinned of a server that was never started. */
const never = { isKnown: false, tools: 0, pending: 0 };

async function serversOf(path: string): Promise<unknown> {
  const text = await read(path);
  await parseConfig(text, path);
  return parse(text).mcp.servers;
}

describe("capstan mcp", () => {
  test("adds programs and URLs, lists them and takes them out again", async () => {
    await using home = await tempFolder();
    const mcp = (...args: readonly string[]) => capstan(home.path, ["mcp", ...args]);
    const program = await mcp("add", "git", "--env", "A=1=2", "--no-prefix", "--", "npx", "-y", "server", "--flag");
    expect(program, program.stderr).toMatchObject({ code: 0, stdout: "" });
    const remote = await mcp(
      "add",
      "web",
      "--url",
      "https://a.example/mcp",
      "--bearer-env",
      "WEB",
      "--header",
      "X-A=b",
    );
    expect(program.stderr).toContain("capstan --home");
    expect(program.stderr).toMatch(/tools ls --json --allow '\*'$/m);
    expect(remote.stderr).toMatch(/tools ls --json --allow 'web__\*'$/m);
    expect((await mcp("add", "near", "--url", "http://127.0.0.1:1/mcp", "--private")).code).toBe(0);
    expect(await serversOf(configOf(home.path))).toEqual({
      git: { command: "npx", args: ["-y", "server", "--flag"], env: { A: "1=2" }, prefix: false },
      web: { url: "https://a.example/mcp", headers: { "X-A": "b" }, auth: { type: "bearer", tokenEnv: "WEB" } },
      near: { url: "http://127.0.0.1:1/mcp", private: true },
    });
    expect((await lstat(configOf(home.path))).mode & 0o777).toBe(0o600);

    const listed = JSON.parse((await mcp("ls", "--json")).stdout);
    expect(listed).toEqual([
      { name: "git", kind: "stdio", target: "npx -y server --flag", enabled: true, ...never },
      { name: "web", kind: "http", target: "https://a.example/mcp", enabled: true, ...never },
      { name: "near", kind: "http", target: "http://127.0.0.1:1/mcp", enabled: true, ...never },
    ]);
    expect((await mcp("ls")).stdout).toContain("web   http   on   never asked  https://a.example/mcp\n");
    for (const name of ["git", "web", "near"]) expect((await mcp("rm", name)).code).toBe(0);
    expect(await serversOf(configOf(home.path))).toEqual({});
    expect(await readdir(home.path)).toEqual(["capstan.yaml"]);
  });

  test("keeps comments, order, mode and link of the file that --config names", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const real = join(folder.path, "real.yaml");
    const named = join(folder.path, "named.yaml");
    const before =
      "# first\nsandbox:\n  timeoutMs: 5 # short\n\nmcp:\n  servers:\n    # mine\n    one: { command: x } # one\n\n# last\n";
    await writeFile(real, before, { mode: 0o640 });
    await symlink(real, named);
    const mcp = (...args: readonly string[]) => capstan(home.path, ["--config", named, "mcp", ...args]);
    const added = await mcp("add", "two", "--", "y");
    expect(added, added.stderr).toMatchObject({ code: 0 });
    const after = await read(real);
    for (const line of before.trimEnd().split("\n")) expect(after.split("\n")).toContain(line);
    expect(await serversOf(real)).toEqual({ one: { command: "x" }, two: { command: "y" } });
    expect((await lstat(named)).isSymbolicLink()).toBe(true);
    expect((await lstat(real)).mode & 0o777).toBe(0o640);
    expect((await mcp("rm", "two")).code).toBe(0);
    expect(await read(real)).toBe(before);
    expect(await readdir(home.path)).toEqual([]);
  });

  test("leaves a file alone that is no good config, or that it can't edit", async () => {
    await using home = await tempFolder();
    const good = "mcp:\n  servers:\n    a: &a { command: x }\n    b: *a\n";
    for (const [text, command] of [
      ["mcp: [", ["add", "n", "--", "x"]],
      ["mpc: {}\n", ["add", "n", "--", "x"]],
      [good, ["rm", "a"]],
      ["permissions: &p {}\nmcp: *p\n", ["add", "n", "--", "x"]],
    ] as const) {
      await writeFile(configOf(home.path), text);
      const ended = await capstan(home.path, ["mcp", ...command]);
      expect(ended, ended.stderr).toMatchObject({ code: 3, stdout: "" });
      expect(await read(configOf(home.path))).toBe(text);
    }
    await writeFile(configOf(home.path), good);
    const lawful = await capstan(home.path, ["mcp", "rm", "b"]);
    expect(lawful.code, lawful.stderr).toBe(0);
  });

  test.each([
    [["add", "one", "--", "x"], "already"],
    [["add", "Bad_Name", "--", "x"], "small letters"],
    [["add", "n"], "neither came"],
    [["add", "n", "--url", "https://a.example", "--", "x"], "both came"],
    [["add", "n", "--url", "ftp://a.example"], "http:// or https://"],
    [["add", "n", "--url", "https://me:s3cret@a.example"], "no password"],
    [["add", "n", "--url", "http://a.example"], "--private"],
    [["add", "n", "--url", "https://a.example", "--env", "A=1"], "--env is for a program"],
    [["add", "n", "--url", "https://a.example", "--bearer-env", "s3cret-token"], "not a token"],
    [["add", "n", "--url", "https://a.example", "--header", "s3cret"], "NAME=VALUE"],
    [["add", "n", "--url", "https://a.example", "--header", "A=1", "--header", "a=2"], "twice"],
    [["add", "n", "--header", "A=1", "--", "x"], "--header is for a server at a URL"],
    [["add", "n", "--env", "=s3cret", "--", "x"], "NAME=VALUE"],
    [["add", "n", "--", ""], "The command is empty"],
    [["rm", "oen"], "There are one, another"],
    [["rm", "anoter"], 'Did you mean "another"?'],
  ])("refuses %j, writes nothing and shows no secret", async (args, said) => {
    await using home = await tempFolder();
    const before = "mcp: { servers: { one: { command: x }, another: { command: y } } }\n";
    await writeFile(configOf(home.path), before);
    const ended = await capstan(home.path, ["mcp", ...args]);
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/^usage\.bad_option: /);
    expect(ended.stderr).toContain(said);
    expect(ended.stderr).not.toContain("s3cret");
    expect(await read(configOf(home.path))).toBe(before);
  });

  test("advises to keep a secret out of the config, and shows it nowhere", async () => {
    await using home = await tempFolder();
    const add = (name: string, ...env: readonly string[]) =>
      capstan(home.path, ["mcp", "add", name, ...env.flatMap((pair) => ["--env", pair]), "--", "x"]);
    const plain = await add("a", "API_TOKEN=hunter2", "MODE=ghp_abcdef", "LEVEL=debug");
    expect(plain.stderr).toContain("--env 'API_TOKEN=${API_TOKEN}'");
    expect(plain.stderr).toContain("MODE looks like a secret");
    expect(plain.stderr).not.toMatch(/LEVEL|hunter2|ghp_/);
    expect((await add("b", "API_TOKEN=${API_TOKEN}")).stderr).not.toContain("secret");
  });

  test("takes a path of the command from here, and says which arguments are none at the server", async () => {
    await using home = await tempFolder();
    await using work = await tempFolder();
    await mkdir(join(work.path, "bin"));
    await writeFile(join(work.path, "server.js"), "");
    const ended = await capstan(home.path, ["mcp", "add", "n", "--", "./bin/x", "./server.js"], { cwd: work.path });
    expect(ended.stderr).toContain(`write ${join(work.path, "server.js")} instead`);
    expect(await serversOf(configOf(home.path))).toMatchObject({ n: { command: join(work.path, "bin/x") } });
  });

  test("is the operator's alone", async () => {
    await using home = await tempFolder();
    const token = (await capstan(home.path, ["grant", "create", "--allow", "calculator"])).stdout.trim();
    await capstan(home.path, ["mcp", "add", "one", "--", "x"]);
    const before = await read(configOf(home.path));
    for (const args of [["add", "two", "--", "y"], ["rm", "one"], ["ls"]]) {
      const byOption = await capstan(home.path, ["--grant", token, "mcp", ...args]);
      expect(byOption).toMatchObject({ code: 6, stdout: "" });
      const byVariable = await capstan(home.path, ["mcp", ...args], { env: { CAPSTAN_GRANT: token } });
      expect(byVariable).toMatchObject({ code: 6, stdout: "" });
    }
    expect(await read(configOf(home.path))).toBe(before);
    expect((await capstan(home.path, ["mcp", "rm", "one"])).code).toBe(0);
  });
});

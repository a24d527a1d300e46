import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bin, capstan, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

/** The command in a folder, with this environment and no `--home`. */
function run(cwd: string, env: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const ended = spawnSync(process.execPath, [bin, ...args], {
    cwd,
    env: { ...environment, ...env },
    encoding: "utf8",
    timeout: 60_000,
  });
  return { code: ended.status, stdout: ended.stdout, stderr: ended.stderr };
}

describe("the home", () => {
  test.each([
    ["HOME is empty", { HOME: "" }, []],
    ["CAPSTAN_HOME is empty", { CAPSTAN_HOME: "" }, []],
    ["--home is empty", {}, ["--home", ""]],
  ])("is never the working folder: %s", async (_, env, args) => {
    await using folder = await tempFolder();
    // What a hostile repository would hold.
    writeFileSync(join(folder.path, "capstan.yaml"), "permissions: { read: [/] }");
    const refused = run(folder.path, env, ...args, "tools", "ls");
    expect(refused).toMatchObject({ code: 3, stdout: "" });
    expect(refused.stderr).toMatch(/^config\.unsafe_home: .*--home DIR/);
    expect(readdirSync(folder.path)).toEqual(["capstan.yaml"]);
  });

  test("is found by HOME, and by CAPSTAN_HOME before that", async () => {
    await using folder = await tempFolder();
    const at = (name: string): string => join(folder.path, name);
    expect(run(folder.path, { HOME: at("user") }, "tools", "ls").code).toBe(0);
    expect(run(folder.path, { HOME: at("user"), CAPSTAN_HOME: at("own") }, "tools", "ls").code).toBe(0);
    expect([at("user/.capstan/key.json"), at("own/key.json")].map((path) => existsSync(path))).toEqual([true, true]);
  });

  test("that is a file says so", async () => {
    await using folder = await tempFolder();
    writeFileSync(join(folder.path, "file"), "");
    const { code, stderr } = await capstan(join(folder.path, "file"), ["tools", "ls"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^config\.unsafe_home: .*--home DIR/);
  });

  test.skipIf(process.getuid === undefined)("that others can write is not even read", async () => {
    await using folder = await tempFolder();
    const home = join(folder.path, "home");
    mkdirSync(home);
    writeFileSync(join(home, "capstan.yaml"), "no: config");
    chmodSync(home, 0o777);
    const { code, stderr } = await capstan(home, ["tools", "ls"]);
    expect({ code, unsafe: stderr.startsWith("config.unsafe_home") }).toEqual({ code: 3, unsafe: true });
    expect(readdirSync(home)).toEqual(["capstan.yaml"]);
  });
});

describe("a slip of the pen", () => {
  test.each([
    ["an empty --root", ["tools", "ls", "--root", ""], "--root is empty"],
    ["a --root that is not there", ["tools", "ls", "--root", "/no/such/folder"], "/no/such/folder"],
    ["an empty --write", ["serve", "--write", ""], "--write is empty"],
    ["an empty --read", ["grant", "create", "--allow", "calculator", "--read", ""], "--read is empty"],
    ["an empty --root of a client", ["install", "--client", "cursor", "--yes", "--root", ""], "--root is empty"],
    [
      "a language that is none",
      ["grant", "create", "--allow", "execute_code", "--language", "pyton"],
      "typescript, python, bash, not",
    ],
    ["a bad name", ["grant", "create", "--allow", "calculator", "--name", "A b"], "A b"],
  ])("with %s is told, grants nothing and ends with exit code 2", async (_, args, said) => {
    await using home = await tempFolder();
    const { code, stdout, stderr } = await capstan(home.path, args, { cwd: home.path, env: { HOME: home.path } });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^usage\.bad_option: /);
    expect(stderr).toContain(said);
  });

  test.each([
    ["folders", "read: [/no/such/folder]", /^config\.bad_value: permissions\.read .*\/no\/such\/folder/],
    ["tools", "allow: [calculatr]", /^config\.bad_value: permissions\.allow .*"calculatr" names no tool/],
  ])("in the %s of the config ends with exit code 3", async (_, permissions, said) => {
    await using home = await tempFolder();
    writeFileSync(join(home.path, "capstan.yaml"), `permissions: { ${permissions} }`);
    const { code, stderr } = await capstan(home.path, ["tools", "ls"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(said);
  });

  test.skipIf(!existsSync("/dev/full"))("an answer that finds no room is not lost in silence", async () => {
    await using home = await tempFolder();
    const { status, stderr } = spawnSync(process.execPath, [bin, "--home", home.path, "tools", "ls"], {
      stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
      encoding: "utf8",
      timeout: 60_000,
    });
    expect(status).toBe(1);
    expect(stderr).toContain("ENOSPC");
  });
});

import { writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

const calculate = ["tools", "call", "calculator", '{"expression":"6*7"}'];

async function create(home: string, ...options: readonly string[]): Promise<string> {
  const ended = await capstan(home, ["grant", "create", ...options]);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout.trim();
}

describe("capstan grant", () => {
  test("a one-call token works once, and its second use ends with exit code 5", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const token = await create(home.path, "--allow", "calculator", "--calls", "1");
    expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    await writeFile(`${folder.path}/t`, `${token}\n`, { mode: 0o600 });
    const first = await capstan(home.path, ["--grant", `@${folder.path}/t`, ...calculate]);
    expect(first.code, first.stderr).toBe(0);
    const second = await capstan(home.path, ["--grant", "-", ...calculate], { stdin: token });
    expect(second).toMatchObject({ code: 5, stdout: "" });
    expect(second.stderr).toContain("budget.calls");
  });

  test("a token holds what it names and nothing else, wherever it comes from", async () => {
    await using home = await tempFolder();
    const token = await create(home.path, "--allow", "calculator");
    const list = ["tools", "call", "todo_list", "{}"];
    expect((await capstan(home.path, ["--grant", token, ...list])).code).toBe(2);
    expect((await capstan(home.path, list, { env: { CAPSTAN_GRANT: token } })).code).toBe(2);
    expect((await capstan(home.path, calculate, { env: { CAPSTAN_GRANT: token } })).code).toBe(0);
    expect((await capstan(home.path, list)).code).toBe(0);
  });

  test.each([
    ["empty", ""],
    ["blank", "  \n"],
    ["garbage", "a.b.c"],
    ["not a token", "hello"],
    ["unsigned", "eyJhbGciOiJub25lIn0.e30."],
  ])("a token that is %s refuses with exit code 3 and never falls back", async (_, token) => {
    await using home = await tempFolder();
    const ended = await capstan(home.path, calculate, { env: { CAPSTAN_GRANT: token } });
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toMatch(/^token\./);
  });

  test("a token file that is missing refuses too", async () => {
    await using home = await tempFolder();
    const ended = await capstan(home.path, calculate, { env: { CAPSTAN_GRANT_FILE: `${home.path}/nothing` } });
    expect(ended).toMatchObject({ code: 3, stdout: "" });
  });

  test("a token of another home refuses", async () => {
    await using home = await tempFolder();
    await using other = await tempFolder();
    const token = await create(other.path, "--allow", "calculator");
    expect((await capstan(home.path, ["--grant", token, ...calculate])).code).toBe(3);
    expect((await capstan(other.path, ["--grant", token, ...calculate])).code).toBe(0);
  });

  test("derive makes less, and refuses more (47 to 57, B48)", async () => {
    await using home = await tempFolder();
    const parent = await create(
      home.path,
      "--allow",
      "calculator",
      "--allow",
      "todo_list",
      "--calls",
      "5",
      "--ttl",
      "10m",
    );
    const less = await capstan(home.path, [
      "grant",
      "derive",
      parent,
      "--allow",
      "calculator",
      "--calls",
      "1",
      "--ttl",
      "1m",
    ]);
    expect(less.code, less.stderr).toBe(0);
    expect((await capstan(home.path, ["--grant", less.stdout.trim(), "tools", "call", "todo_list"])).code).toBe(2);
    for (const more of [
      ["--calls", "6"],
      ["--allow", "execute_code"],
      ["--read", home.path],
      ["--host", "https://example.org"],
    ]) {
      const ended = await capstan(home.path, ["grant", "derive", parent, ...more]);
      expect(ended, more.join(" ")).toMatchObject({ code: 6, stdout: "" });
      expect(ended.stderr).toContain("permission.widen");
    }
    const longer = (await capstan(home.path, ["grant", "derive", parent, "--ttl", "1h"])).stdout.trim();
    const endOf = async (token: string): Promise<number> =>
      JSON.parse((await capstan(home.path, ["grant", "show", token, "--json"])).stdout).expiresAt;
    expect(await endOf(longer)).toBe(await endOf(parent));
    const created = await capstan(home.path, ["--grant", parent, "grant", "create", "--allow", "execute_code"]);
    expect(created).toMatchObject({ code: 6, stdout: "" });
  });

  test("show says in sentences what a person can check", async () => {
    await using home = await tempFolder();
    const token = await create(home.path, "--allow", "execute_code", "--language", "python", "--calls", "20");
    const { stdout } = await capstan(home.path, ["grant", "show", token]);
    const [first, , ...details] = stdout.split("\n");
    expect(first).toMatch(/^May run python without network, at most 20 calls, until \d{4}-\d\d-\d\d \d\d:\d\d/);
    expect(details.join("\n")).toContain("May read no files.");
  });

  test("the isolation and each limit are what the options say, and show says them", async () => {
    await using home = await tempFolder();
    const token = await create(
      home.path,
      ...["--allow", "execute_code", "--isolation", "os-sandbox", "--session", "work", "--approve", "todo_*"],
      ...["--tokens", "9", "--cost-usd", "0.50", "--cpu", "2s", "--time", "1m", "--bytes", "1000"],
      ...["--memory-mb", "64", "--depth", "2", "--parallel", "3"],
    );
    const { stdout } = await capstan(home.path, ["grant", "show", token]);
    for (const said of [
      "use the sessions work, at most 9 tokens, at most 0.5 US dollars",
      "at isolation os-sandbox or stronger",
      "May approve calls of todo_add,",
      "at most 2000 ms of CPU time",
      "at most 60000 ms of running time",
      "at most 1000 bytes of results",
      "at most 67108864 bytes of memory a call",
      "at most 2 levels of nested calls",
      "at most 3 calls at a time",
    ]) {
      expect(stdout).toContain(said);
    }
  });

  test("verify and revoke: a revoked grant ends with what was derived from it", async () => {
    await using home = await tempFolder();
    const parent = await create(home.path, "--allow", "calculator");
    const child = (await capstan(home.path, ["grant", "derive", parent])).stdout.trim();
    expect((await capstan(home.path, ["grant", "verify", child])).code).toBe(0);
    expect((await capstan(home.path, ["grant", "revoke", parent])).code).toBe(0);
    const ended = await capstan(home.path, ["grant", "verify", child]);
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toContain("token.revoked");
    expect((await capstan(home.path, ["--grant", child, ...calculate])).code).toBe(3);
  });

  test("a named grant serves by its name until it is revoked, and all end with --all", async () => {
    await using home = await tempFolder();
    await capstan(home.path, ["grant", "create", "--allow", "calculator", "--name", "desk"]);
    const list = await capstan(home.path, ["tools", "ls", "--as", "desk"]);
    expect(list.stdout.trim().split(/\s+/)[0]).toBe("calculator");
    expect((await capstan(home.path, ["tools", "ls", "--as", "dsek"])).code).toBe(3);
    await capstan(home.path, ["grant", "revoke", "desk"]);
    expect((await capstan(home.path, ["tools", "ls", "--as", "desk"])).code).toBe(3);
    const token = await create(home.path, "--allow", "calculator");
    await capstan(home.path, ["grant", "revoke", "--all"]);
    expect((await capstan(home.path, ["grant", "verify", token])).code).toBe(3);
  });

  test("the audit log is whole after all of this, and an edit shows", async () => {
    await using home = await tempFolder();
    await capstan(home.path, calculate);
    expect((await capstan(home.path, ["audit", "verify"])).code).toBe(0);
    const { DatabaseSync } = await import("node:sqlite");
    const db = new DatabaseSync(`${home.path}/state.db`);
    db.exec("update audit set entry = replace(entry, 'calculator', 'nothing')");
    db.close();
    const ended = await capstan(home.path, ["audit", "verify"]);
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain("1");
  });
});

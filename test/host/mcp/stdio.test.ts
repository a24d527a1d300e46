import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { testWith } from "../../support/machine.ts";
import { tempFolder } from "../../support/temp.ts";
import { byHand, codeOf, openTestConnection } from "./connect-support.ts";

const secrets = {
  ...{ PATH: process.env["PATH"], HOME: "/somewhere", LANG: "C", OPENAI_API_KEY: "sk-model", GITHUB_TOKEN: "ghp" },
  ...{ CAPSTAN_GRANT: "a grant", CAPSTAN_HOME: "/home/capstan", NODE_OPTIONS: "--no-warnings" },
};

test("a server gets the variables that its config names and a few that every program needs, and nothing else", async () => {
  const config = byHand(["legacy"], { env: { TOKEN: "Bearer ${GITHUB_TOKEN}", PLAIN: "$HOME" } });
  await using connection = await openTestConnection(config, { env: secrets });
  expect(JSON.parse(await connection.text("env"))).toEqual({
    ...{ PATH: secrets.PATH, HOME: "/somewhere", LANG: "C", TOKEN: "Bearer ghp", PLAIN: "$HOME" },
  });
});

test.each([
  ["${MISSING}", /mcp\.servers\.hand\.env\.X names the variable MISSING, which is not set/],
  ["${CAPSTAN_GRANT}", /no server gets a variable of Capstan's own/],
])("a config with %s starts nothing and says why", async (text, message) => {
  await using connection = await openTestConnection(byHand(["legacy"], { env: { X: text } }), { env: secrets });
  const call = connection.text("echo");
  await expect(call).rejects.toMatchObject({ code: "mcp.variable_missing", message: expect.stringMatching(message) });
  expect(connection.starts()).toBe(0);
});

test("a server runs in an empty folder of its own, or where the config says", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  const folder = await connection.text("cwd");
  expect(folder).toBe(join(connection.home, "mcp/servers/hand/local/operator"));
  expect(await readdir(folder)).toEqual([]);
  await using other = await tempFolder();
  await using elsewhere = await openTestConnection(byHand(["legacy"], { cwd: other.path }));
  expect(await elsewhere.text("cwd")).toBe(other.path);
});

test.each([
  [{ command: "no-such-program" }, /there is no program no-such-program on the PATH/],
  [{ command: "/no/such/program" }, /there is no program \/no\/such\/program\./],
  [{ command: "sh", cwd: "/no/such/folder" }, /there is no folder \/no\/such\/folder\. Correct mcp\.servers\.\w+\.cwd/],
  [{ command: "sh", args: ["-c", "exit 4"] }, /ended with exit code 4 before it was ready/],
  [{ command: "sh", args: ["-c", "exec sleep 100"], startTimeoutMs: 300 }, /did not get ready within 300 ms/],
])("a server that can't be started says why: %o", async (config, message) => {
  await using connection = await openTestConnection({ bubblewrap: "never", ...config });
  await expect(connection.text("echo")).rejects.toMatchObject({
    code: "mcp.start_failed",
    message: expect.stringMatching(message),
  });
});

testWith("bubblewrap")(
  "a server can't read Capstan's home, not even through another process, and reads what is beside it",
  async () => {
    await using beside = await tempFolder();
    await writeFile(join(beside.path, "file"), "lawful");
    const config = byHand(["legacy"], { bubblewrap: "auto" });
    await using connection = await openTestConnection(config);
    const key = join(connection.home, "keys", "key");
    await mkdir(join(connection.home, "keys"));
    await writeFile(key, "secret");
    const read = async (path: string): Promise<string> => await connection.text("read", { path });
    expect(await read(join(beside.path, "file"))).toBe("lawful");
    expect(await read(key)).toBe("nothing there");
    expect(await read(`/proc/${process.pid}/root${key}`)).toBe("nothing there");
    expect(await read("/proc/1/environ")).not.toContain("VITEST");
    expect(await connection.text("cwd")).toBe(join(connection.home, "mcp/servers/hand/local/operator"));

    // The same server without the mask reads it: the test can fail.
    await using open = await openTestConnection(byHand(["legacy"]), { home: connection.home });
    expect(await open.text("read", { path: key })).toBe("secret");
  },
);

test("a result of 12 MB comes through whole", async () => {
  await using connection = await openTestConnection(byHand(["legacy"]));
  expect(await connection.text("large", { bytes: 12_000_000 })).toHaveLength(12_000_000);
});

test("a closed connection starts nothing any more", async () => {
  const connection = await openTestConnection(byHand(["legacy"]));
  await connection.text("echo");
  await connection[Symbol.asyncDispose]();
  expect(await codeOf(connection.text("echo"))).toBe("mcp.server_gone");
  expect(connection.starts()).toBe(1);
});

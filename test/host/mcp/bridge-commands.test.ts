import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { expect, test } from "vitest";
import { bin, capstan, environment } from "../../support/capstan.ts";
import { tempFolder } from "../../support/temp.ts";
import { withSdk } from "./bridged-app.ts";
import { isAlive } from "./connect-support.ts";

/** A home whose config names one server with these tools, and where that keeps what it has. */
async function openHome(...tools: readonly string[]) {
  await using opened = new AsyncDisposableStack();
  const home = opened.use(await tempFolder()).path;
  const folder = opened.use(await tempFolder()).path;
  await writeFile(join(folder, "offer.json"), JSON.stringify({ tools: tools.map((name) => ({ name })) }));
  const config = { mcp: { servers: { notes: withSdk(folder) } } };
  await writeFile(join(home, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
  const owned = opened.move();
  return { home, folder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function connect(home: string, ...args: readonly string[]) {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
  const command = { command: process.execPath, args: [bin, "--home", home, "serve", ...args], env: environment };
  const transport = new StdioClientTransport({ ...command, stderr: "ignore" });
  await client.connect(transport);
  return { client, [Symbol.asyncDispose]: () => client.close() };
}

test("commands that call or list tools start a server that was never seen, and the others start none", async () => {
  await using home = await tempFolder();
  const marker = join(home.path, "started");
  const server = { command: "sh", args: ["-c", `echo > ${marker}`], bubblewrap: "never" };
  const config = { mcp: { servers: { notes: server } } };
  await writeFile(join(home.path, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
  for (const words of [
    "grant show",
    "grant create --allow calculator",
    "mcp ls",
    "tools diff",
    "runs ls",
    "audit verify",
  ]) {
    const ended = await capstan(home.path, words.split(" "));
    expect(ended.code, ended.stderr).toBe(0);
    expect(existsSync(marker), words).toBe(false);
  }
  const listed = await capstan(home.path, ["tools", "ls"]);
  expect(listed).toMatchObject({ code: 0, stdout: expect.stringContaining("calculator") });
  expect(listed.stderr).toMatch(/^mcp notes: The MCP server notes .* before it was ready/m);
  expect(existsSync(marker)).toBe(true);
});

test("capstan tools and run know a server's tools at its first start", async () => {
  await using opened = await openHome("echo");
  const { home } = opened;
  const task = await capstan(home, ["run", "6*7", "--allow", "notes__*"]);
  expect(task, task.stderr).toMatchObject({ code: 0, stdout: "6*7 = 42\n" });
  expect((await capstan(home, ["mcp", "ls"])).stdout).toMatch(/^notes +stdio +on +1 tool /);
  const called = await capstan(home, ["tools", "call", "notes__echo", '{"a":1}', "--allow", "notes__echo"]);
  expect(called.code, called.stderr).toBe(0);
  expect(JSON.parse(called.stdout)).toMatchObject({ name: "echo", args: { a: 1 } });
  expect(await capstan(home, ["tools", "call", "notes__echo"])).toMatchObject({ code: 2, stdout: "" });

  // What the server lists by now is what `tools ls` shows.
  await writeFile(join(opened.folder, "offer.json"), JSON.stringify({ tools: [{ name: "more", title: "More" }] }));
  expect((await capstan(home, ["tools", "ls", "--allow", "notes__more"])).stdout).toMatch(/^notes__more +More$/m);
});

test("what a server that is away would have had takes nothing else from whoever was given it", async () => {
  await using home = await tempFolder();
  const servers = { notes: { command: "/no/such/program", bubblewrap: "never" } };
  const config = { mcp: { servers }, permissions: { allow: ["notes__*"], tainted: ["notes__read"] } };
  await writeFile(join(home.path, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
  const call = ["tools", "call", "calculator", '{"expression":"6*7"}', "--allow"];
  const called = await capstan(home.path, [...call, "notes__add"]);
  expect(called.code, called.stderr).toBe(0);
  for (const name of ["notes__*", "notes__read", "notes__add"]) {
    expect(called.stderr).toContain(`${name} names no tool now and is left out`);
  }
  // What no server could have is a slip.
  expect(await capstan(home.path, [...call, "nothing__*"])).toMatchObject({ code: 2, stdout: "" });
  expect(await capstan(home.path, ["grant", "create", "--allow", "notes__add"])).toMatchObject({ code: 2, stdout: "" });
});

test("capstan serve publishes what stands behind it, 12 MB of a result too, and ends it", async () => {
  await using opened = await openHome("large", "pid");
  const serving = await connect(opened.home, "--allow", "notes__*");
  const { client } = serving;
  const listed = (await client.listTools()).tools.find(({ name }) => name === "notes__large");
  // What the server says of a tool does not count: nothing is known of it, so it may do the worst.
  expect(listed?.annotations).toMatchObject({ readOnlyHint: false, destructiveHint: true, openWorldHint: true });
  const pid = await client.callTool({ name: "notes__pid", arguments: {} });
  const [block] = pid.content;
  const server = Number(block?.type === "text" ? block.text : "");
  expect(await isAlive(server)).toBe(true);
  await client.close();
  await expect.poll(() => isAlive(server)).toBe(false);

  await using again = await connect(opened.home, "--allow", "notes__large");
  const large = await again.client.callTool({ name: "notes__large", arguments: { bytes: 12_000_000 } });
  expect(large.isError).not.toBe(true);
  const link = large.content.find(({ type }) => type === "resource_link");
  expect(link).toMatchObject({ uri: expect.stringMatching(/^capstan:\/\/artifacts\//), size: 12_000_000 });
  expect(JSON.stringify(large).length).toBeLessThan(64 * 1024);
});

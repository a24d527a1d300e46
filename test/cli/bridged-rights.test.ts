import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { describe, expect, test } from "vitest";
import { withSdk } from "../host/mcp/bridged-app.ts";
import { bin, capstan, environment } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

/** A home with a server behind it that has a tool, a resource and a prompt, and what the config says the operator may do. */
async function openHome(permissions: object = {}) {
  await using opened = new AsyncDisposableStack();
  const home = opened.use(await tempFolder()).path;
  const folder = opened.use(await tempFolder()).path;
  const offer = {
    tools: [{ name: "echo" }],
    resources: [{ uri: "note://a", name: "a" }],
    prompts: [{ name: "greet" }],
  };
  await writeFile(join(folder, "offer.json"), JSON.stringify(offer));
  const config = { permissions, mcp: { servers: { notes: withSdk(folder) } } };
  await writeFile(join(home, "capstan.yaml"), JSON.stringify(config), { mode: 0o600 });
  const owned = opened.move();
  return { path: home, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** What an official client of `capstan serve` gets of that server; a code where a call is refused. */
async function use(home: string, args: readonly string[] = []) {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: "auto" } });
  const command = { command: process.execPath, args: [bin, "--home", home, ...args, "serve"], env: environment };
  await client.connect(new StdioClientTransport({ ...command, stderr: "ignore" }));
  await using _ = { [Symbol.asyncDispose]: () => client.close() };
  const isTheirs = (name: string): boolean => name.startsWith("notes");
  const call = async () => {
    const { isError, _meta: meta } = await client.callTool({ name: "notes__echo", arguments: {} });
    return isError === true ? meta?.["dev.capstan/code"] : "done";
  };
  const tools = (await client.listTools()).tools.map(({ name }) => name).filter(isTheirs);
  const resources = (await client.listResources()).resources.map(({ uri }) => uri).filter(isTheirs);
  const prompts = (await client.listPrompts()).prompts.map(({ name }) => name).filter(isTheirs);
  const read = await Promise.all(resources.map(async (uri) => (await client.readResource({ uri })).contents));
  return { tools, resources, prompts, read, calls: tools.length === 0 ? [] : [await call(), await call()] };
}

const everything = {
  tools: ["notes__echo"],
  resources: ["notes+note://a"],
  prompts: ["notes__greet"],
  read: [[expect.objectContaining({ uri: "notes+note://a", text: expect.stringContaining("note://a") })]],
};
const nothing = { tools: [], resources: [], prompts: [], read: [], calls: [] };

describe("what a client gets of a server behind", () => {
  test("is nothing by default, and all that permissions name at the server's first start", async () => {
    await using silent = await openHome();
    expect(await use(silent.path)).toEqual(nothing);
    const permissions = { allow: ["notes__*"], resources: ["notes+"], prompts: ["notes__*"] };
    await using asking = await openHome(permissions);
    // What was read before is untrusted, and nothing is said of the tool, so it may send that out.
    const refused = ["permission.approval_needed", "permission.approval_needed"];
    expect(await use(asking.path)).toEqual({ ...everything, calls: refused });
    await using free = await openHome({ ...permissions, tainted: ["notes__*"] });
    expect(await use(free.path)).toEqual({ ...everything, calls: ["done", "done"] });
  });

  test("is what a token names, once the server was seen", async () => {
    await using home = await openHome();
    const create = async (...options: string[]) => {
      const ended = await capstan(home.path, ["grant", "create", ...options]);
      expect(ended.code, ended.stderr).toBe(0);
      return ["--grant", ended.stdout.trim()];
    };
    await capstan(home.path, ["tools", "ls"]);
    const allow = ["--allow", "notes__*"];
    const asked = { ...nothing, tools: ["notes__echo"], calls: ["done", "permission.approval_needed"] };
    expect(await use(home.path, await create(...allow))).toEqual(asked);
    const all = [...allow, "--tainted", "notes__*", "--resource", "notes+", "--prompt", "notes__*"];
    expect(await use(home.path, await create(...all))).toEqual({ ...everything, calls: ["done", "done"] });
    expect(await use(home.path, await create("--prompt", "notes__greet"))).toEqual({
      ...nothing,
      prompts: ["notes__greet"],
    });
  });
});

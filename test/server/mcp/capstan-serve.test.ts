import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport as TransportV1 } from "@modelcontextprotocol/sdk/client/stdio.js";
import { describe, expect, test } from "vitest";
import { bin, capstan, environment } from "../../support/capstan.ts";
import { testWith } from "../../support/machine.ts";
import { tempHomeWithPython } from "../../support/python.ts";
import { tempFolder } from "../../support/temp.ts";
import { openPeer, textOf } from "./peer.ts";

const notLinux = testWith("linux") === test.skip;

interface ServeOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** `capstan serve` in a process of its own, with a raw peer at its pipes. Disposing kills what is left of it. */
function serve(home: string, { args = [], env = {} }: ServeOptions = {}) {
  const child = spawn(process.execPath, [bin, "--home", home, "serve", ...args], {
    stdio: "pipe",
    env: { ...environment, ...env },
  });
  child.stdin.on("error", () => {}); // A server that has ended reads no more.
  const ended = Promise.all([once(child, "exit"), text(child.stderr)]).then(([, stderr]) => ({
    code: child.exitCode,
    stderr,
  }));
  return {
    pid: child.pid ?? 0,
    ended,
    peer: openPeer(child.stdin, child.stdout),
    hangUp: () => child.stdin.end(),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The processes below one, with the CPU time (ms) that each has used, its own first. */
async function processTree(root: number): Promise<ReadonlyMap<number, number>> {
  const stats = new Map<number, { parent: number; cpuMs: number }>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // A process may end while we look.
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (stat !== "")
      stats.set(Number(name), { parent: Number(fields[1]), cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 });
  }
  const tree = new Map<number, number>();
  const add = (pid: number): void => {
    tree.set(pid, stats.get(pid)?.cpuMs ?? 0);
    for (const [child, { parent }] of stats) if (parent === pid) add(child);
  };
  add(root);
  return tree;
}

/** The CPU time (ms) that a process and those below it use in half a second. */
async function busyMs(root: number): Promise<number> {
  const before = await processTree(root);
  await sleep(500);
  const after = await processTree(root);
  return [...after].reduce((sum, [pid, cpuMs]) => sum + cpuMs - (before.get(pid) ?? 0), 0);
}

describe("capstan serve", () => {
  test("serves the built-in tools to the official clients of both eras", async () => {
    await using home = await tempFolder();
    const args = [bin, "--home", home.path, "serve"];
    const command = { command: process.execPath, args, env: environment, stderr: "ignore" as const };
    const identity = { name: "test", version: "1" };

    const v1 = new ClientV1(identity);
    await v1.connect(new TransportV1(command));
    const listed = await v1.listTools();
    const added = await v1.callTool({ name: "todo_add", arguments: { text: "buy milk" } });
    expect(added.isError).toBeUndefined();
    await v1.close();

    const v2 = new Client(identity, { versionNegotiation: { mode: "auto" } });
    await v2.connect(new StdioClientTransport(command));
    expect(v2.getNegotiatedProtocolVersion()).toBe("2026-07-28");
    expect((await v2.listTools()).tools.map(({ name }) => name)).toEqual(listed.tools.map(({ name }) => name));
    const todos = await v2.callTool({ name: "todo_list", arguments: {} });
    expect(JSON.stringify(todos.structuredContent)).toContain("buy milk");
    const product = await v2.callTool({ name: "calculator", arguments: { expression: "6*7" } });
    expect(product.structuredContent).toMatchObject({ result: "42" });
    await v2.close();
  });

  test("shows each tool with an object as output schema and all four annotations", async () => {
    await using home = await tempFolder();
    await using server = serve(home.path);
    const { peer } = server;
    await peer.initialize();
    const { result } = await peer.request("tools/list");
    for (const tool of result?.tools ?? []) {
      expect(tool).toMatchObject({
        title: expect.any(String),
        description: expect.any(String),
        inputSchema: { type: "object" },
        outputSchema: { type: "object" },
        annotations: {
          readOnlyHint: expect.any(Boolean),
          destructiveHint: expect.any(Boolean),
          idempotentHint: expect.any(Boolean),
          openWorldHint: expect.any(Boolean),
        },
      });
    }
    expect(result?.tools?.length).toBeGreaterThan(9);
    server.hangUp();
    expect(await server.ended).toEqual({ code: 0, stderr: "" });
  });

  test("acts under the token of its environment alone, and names what is wrong with one that is no good", async () => {
    await using home = await tempFolder();
    const made = await capstan(home.path, ["grant", "create", "--allow", "calculator", "--calls", "1"]);
    const token = made.stdout.trim();
    const file = join(home.path, "token");
    await writeFile(file, token, { mode: 0o600 });
    await using server = serve(home.path, { env: { CAPSTAN_GRANT_FILE: file } });
    const { peer } = server;
    await peer.initialize();
    expect((await peer.request("tools/list")).result?.tools?.map(({ name }) => name)).toEqual(["calculator"]);
    expect((await peer.call("todo_list")).error?.code).toBe(-32602);
    expect((await peer.call("calculator", { expression: "6*7" })).result?.isError).toBeUndefined();
    expect(textOf(await peer.call("calculator", { expression: "6*7" }))).toMatch(/^budget\.calls: /);
    server.hangUp();
    expect((await server.ended).code).toBe(0);

    const refused = await capstan(home.path, ["serve"], { env: { CAPSTAN_GRANT: `${token}x` } });
    expect(refused).toMatchObject({ code: 3, stdout: "" });
    expect(refused.stderr).toMatch(/^token\./);
  });

  test.skipIf(notLinux).each([
    ["python", "while True: pass"],
    ["javascript", "while (true) {}"],
  ])("stops stuck %s soon after its cancellation, and leaves no process", async (language, code) => {
    await using home = await tempHomeWithPython();
    await using server = serve(home.path);
    const { peer, pid } = server;
    await peer.initialize();
    const isLawfulServed = async (): Promise<void> => {
      const { result } = await peer.call("execute_code", { language, code: "6*7" });
      expect(result?.structuredContent).toMatchObject({ status: "ok", result: 42 });
    };
    await isLawfulServed();

    const call = { name: "execute_code", arguments: { language, code, timeoutMs: 30_000 } };
    peer.send({ jsonrpc: "2.0", id: "stuck", method: "tools/call", params: call });
    await sleep(1_500);
    await expect.poll(() => busyMs(pid)).toBeGreaterThan(50);
    peer.send({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "stuck" } });
    await expect.poll(() => busyMs(pid)).toBeLessThan(50);
    expect(peer.received.filter(({ id }) => id === "stuck")).toEqual([]);
    await isLawfulServed();

    const tree = await processTree(pid);
    server.hangUp();
    expect((await server.ended).code).toBe(0);
    await expect.poll(() => [...tree.keys()].filter(isAlive)).toEqual([]);
  });
});

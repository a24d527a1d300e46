import { once } from "node:events";
import { createServer } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { capstan, startCapstan } from "../../support/capstan.ts";
import { tempFolder } from "../../support/temp.ts";
import { readEvents } from "./http-older.ts";
import { envelope } from "./peer.ts";

/** `capstan serve --http` in a process of its own, once it listens, with a token for code and the calculator. */
async function serve(home: string, where = "0") {
  const made = await capstan(home, ["grant", "create", "--allow", "calculator", "--allow", "execute_code"]);
  const { child, ended } = startCapstan(home, ["serve", "--http", where]);
  let told = "";
  child.stderr.on("data", (chunk) => (told += String(chunk)));
  await expect.poll(() => told).toMatch(/MCP at \S+\/mcp\./);
  const url = /MCP at (\S+)\/mcp\./.exec(told)?.[1] ?? "";
  const post = (method: string, params: Record<string, unknown>): Promise<Response> =>
    fetch(`${url}/mcp`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${made.stdout.trim()}`,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        ...(typeof params["name"] === "string" ? { "mcp-name": params["name"] } : {}),
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope() } }),
    });
  return {
    url,
    ended,
    post,
    /** Runs JavaScript for so long. */
    busy: (ms: number) => {
      const code = `const end = Date.now() + ${ms}; while (Date.now() < end); 6 * 7`;
      return post("tools/call", { name: "execute_code", arguments: { language: "javascript", code } });
    },
    told: () => told,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

const product = { name: "calculator", arguments: { expression: "6*7" } };

describe("capstan serve --http", () => {
  test.each(["SIGTERM", "SIGINT"] as const)(
    "on %s lets what runs end, ends subscriptions, says nothing on stdout and exits 0",
    async (signal) => {
      await using home = await tempFolder();
      await using server = await serve(home.path);
      await (await server.busy(1)).text(); // The first one takes longer to begin.
      const listening = await server.post("subscriptions/listen", { notifications: { toolsListChanged: true } });
      const events = readEvents(listening);
      await events.waitFor(({ method }) => method === "notifications/subscriptions/acknowledged");
      const called = server.busy(3_000);
      await sleep(1_000);
      server.kill(signal);
      expect(await (await called).text()).toContain('"result":42');
      expect(await events.ended).toContain('"resultType":"complete"');
      expect(await server.ended).toMatchObject({ code: 0, stdout: "" });
    },
  );

  test("cancels what takes longer than its patience, and ends", async () => {
    await using home = await tempFolder();
    await using server = await serve(home.path);
    await (await server.busy(1)).text();
    const called = server.busy(25_000).catch(() => null);
    await sleep(1_000);
    const since = performance.now();
    server.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0, stdout: "" });
    expect(performance.now() - since).toBeLessThan(20_000);
    await called;
  });

  test("ends at once on the second signal", async () => {
    await using home = await tempFolder();
    await using server = await serve(home.path);
    await (await server.busy(1)).text();
    const called = server.busy(25_000).catch(() => null);
    await sleep(1_000);
    server.kill("SIGINT");
    await sleep(300);
    server.kill("SIGINT");
    expect((await server.ended).code).toBe(130);
    await called;
  });

  test("answers who has no token where to learn more, and names a port that is taken", async () => {
    await using home = await tempFolder();
    await using server = await serve(home.path);
    const refused = await fetch(`${server.url}/mcp`, { method: "POST" });
    expect(refused.status).toBe(401);
    const metadata = /resource_metadata="([^"]+)"/.exec(refused.headers.get("www-authenticate") ?? "")?.[1] ?? "";
    expect(await (await fetch(metadata)).json()).toMatchObject({ resource: `${server.url}/mcp` });
    expect(await (await server.post("tools/call", product)).text()).toContain('"42"');
    expect(server.told()).not.toContain("TLS");

    const { port } = new URL(server.url);
    const second = await capstan(home.path, ["serve", "--http", port]);
    expect(second).toMatchObject({ code: 2, stdout: "" });
    expect(second.stderr).toMatch(
      new RegExp(`^usage\\.bad_option: Can't listen on 127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\)`),
    );
  });

  test.each([["eighty"], ["70000"], ["http://127.0.0.1:80"], ["127.0.0.1:"], [""], ["203.0.113.1:80"]])(
    "names what is wrong with the address %j",
    async (address) => {
      await using home = await tempFolder();
      const ended = await capstan(home.path, ["serve", "--http", address]);
      expect(ended).toMatchObject({ code: 2, stdout: "" });
      expect(ended.stderr).toMatch(/^usage\.bad_option: .*--http.*HOST:\]PORT/);
    },
  );

  test("does not start under a token that is no good: an empty file, a forged one", async () => {
    await using home = await tempFolder();
    const file = join(home.path, "token");
    for (const text of ["", "a.b.c"]) {
      await writeFile(file, text, { mode: 0o600 });
      const ended = await capstan(home.path, ["serve", "--http", "0"], { env: { CAPSTAN_GRANT_FILE: file } });
      expect(ended).toMatchObject({ code: 3, stdout: "" });
      expect(ended.stderr).toMatch(/^token\./);
    }
  });

  test("says that other machines reach every address, and still answers only to names it knows", async () => {
    const free = createServer().listen(0, "127.0.0.1");
    await once(free, "listening");
    const address = free.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    free.close();
    await once(free, "close");
    await using home = await tempFolder();
    await using server = await serve(home.path, `0.0.0.0:${port}`);
    await expect.poll(server.told).toMatch(/no TLS here.*no other name/s);
    const statusOf = (host: string) =>
      new Promise<number | undefined>((resolve, reject) => {
        const sent = httpRequest({ port, host: "127.0.0.1", path: "/mcp", headers: { host } });
        sent.on("response", (response) => resolve(response.resume().statusCode)).on("error", reject);
        sent.end();
      });
    expect(await statusOf(`localhost:${port}`)).toBe(401);
    expect(await statusOf(`evil.test:${port}`)).toBe(403);
  });
});

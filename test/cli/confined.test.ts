import { chmod, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

async function create(home: string, ...options: readonly string[]): Promise<string> {
  const ended = await capstan(home, ["grant", "create", ...options]);
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout.trim();
}

describe("capstan grant", () => {
  test("puts what it refuses and what it ends on record", async () => {
    await using home = await tempFolder();
    const token = await create(home.path, "--allow", "calculator", "--calls", "1");
    expect((await capstan(home.path, ["grant", "derive", token, "--calls", "2"])).code).toBe(6);
    expect((await capstan(home.path, ["grant", "revoke", token])).code).toBe(0);
    await using store = await openSqliteStore({ path: join(home.path, "state.db"), clock: systemClock });
    const rows = (await Array.fromAsync(store.audit())).map(({ entry }) => entry);
    expect(rows).toMatchObject([
      { action: "grant/create", decision: "allow" },
      { action: "grant/create", decision: "deny", reason: "permission.widen", grantId: rows[0]?.grantId },
      { action: "grant/revoke", decision: "allow", grantId: rows[0]?.grantId },
    ]);
  });
});

describe("a process that was started with a token", () => {
  test("exports no run without the right to read runs, and writes no file for its holder", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const token = await create(home.path, "--allow", "todo_add");
    const ran = await capstan(home.path, ["run", "Add a todo to buy milk", "--json"]);
    const { runId } = JSON.parse(ran.stdout);
    const out = join(folder.path, "run.jsonl");

    for (const to of [[], ["-o", out]]) {
      const ended = await capstan(home.path, ["--grant", token, "runs", "export", runId, ...to]);
      expect(ended).toMatchObject({ code: 6, stdout: "" });
      expect(ended.stderr).toContain("permission.no_right");
      expect(ended.stderr).not.toContain("milk");
    }
    await expect(stat(out)).rejects.toMatchObject({ code: "ENOENT" });
    const lawful = await capstan(home.path, ["runs", "export", runId, "-o", out]);
    expect(lawful.code, lawful.stderr).toBe(0);
    expect((await capstan(home.path, ["runs", "export", runId])).stdout).toContain("milk");
  });

  test("reaches a model server only where its grant names the host", async () => {
    let asked = 0;
    await using server = await listen(() => (asked += 1));
    await using home = await tempFolder();
    const model = ["--model", "openai-compatible:m", "--base-url", `${server.origin}/v1`];
    const without = await create(home.path, "--allow", "todo_list");
    const ended = await capstan(home.path, ["--grant", without, "run", "hello", ...model]);
    expect(ended).toMatchObject({ code: 6, stdout: "" });
    expect(ended.stderr).toContain("permission.argument_refused");
    expect(asked).toBe(0);
    const within = await create(home.path, "--allow", "todo_list", "--host", server.origin);
    await capstan(home.path, ["--grant", within, "run", "hello", ...model]);
    expect(asked).toBeGreaterThan(0);
  });

  test("changes no client's config and saves no grant by name", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const token = await create(home.path, "--allow", "todo_list");
    const file = join(folder.path, "mcp.json");
    const install = ["install", "--client", "cursor", "--file", file, "--root", "/", "--yes"];
    expect(await capstan(home.path, ["--grant", token, ...install])).toMatchObject({ code: 6, stdout: "" });
    expect(await capstan(home.path, install, { env: { CAPSTAN_GRANT: token } })).toMatchObject({ code: 6, stdout: "" });
    await expect(stat(file)).rejects.toMatchObject({ code: "ENOENT" });
    expect((await capstan(home.path, install)).code).toBe(0);

    const save = ["grant", "create", "--allow", "todo_list", "--name", "desk"];
    expect(await capstan(home.path, ["--grant", token, ...save])).toMatchObject({ code: 6, stdout: "" });
    expect((await capstan(home.path, save)).code).toBe(0);
    // Nor does it learn which names there are.
    const guessed = await capstan(home.path, ["--grant", token, "tools", "ls", "--as", "nothing"]);
    expect(guessed.code).toBe(3);
    expect(guessed.stderr).not.toContain("desk");
    expect((await capstan(home.path, ["tools", "ls", "--as", "nothing"])).stderr).toContain("desk");
  });

  test("takes CAPSTAN_GRANT_FILE only where nobody else can read it", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const file = join(folder.path, "token");
    await writeFile(file, await create(home.path, "--allow", "calculator"), { mode: 0o600 });
    const call = () =>
      capstan(home.path, ["tools", "call", "calculator", '{"expression":"1+1"}'], {
        env: { CAPSTAN_GRANT_FILE: file },
      });
    expect((await call()).code).toBe(0);
    await chmod(file, 0o644);
    const ended = await call();
    expect(ended).toMatchObject({ code: 3, stdout: "" });
    expect(ended.stderr).toContain(`chmod 600 ${file}`);
  });

  test("remembers what came in under its token, with and without flags beside it", async () => {
    await using home = await tempFolder();
    await using folder = await tempFolder();
    const rights = ["--allow", "fs_list", "--allow", "todo_delete", "--allow", "todo_list", "--read", folder.path];
    const token = await create(home.path, ...rights);
    const other = await create(home.path, ...rights);
    const remove = ["tools", "call", "todo_delete", '{"id":"00000000-0000-8000-8000-000000000000"}'];
    expect((await capstan(home.path, ["--grant", token, ...remove])).code).toBe(0);
    const list = ["tools", "call", "fs_list", JSON.stringify({ path: folder.path }), "--root", folder.path];
    const listed = await capstan(home.path, ["--grant", token, ...list]);
    expect(listed.code, listed.stderr).toBe(0);
    expect((await capstan(home.path, ["--grant", token, ...remove])).code).toBe(75);
    expect((await capstan(home.path, ["--grant", other, ...remove])).code).toBe(0);
    // The same flags beside another token have seen nothing.
    expect((await capstan(home.path, ["--grant", other, ...remove, "--root", folder.path])).code).toBe(0);
  });
});

async function listen(onRequest: () => void): Promise<{ readonly origin: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    onRequest();
    request.resume();
    response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

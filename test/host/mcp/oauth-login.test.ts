import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { openApp } from "../../../src/app.ts";
import type { Session } from "../../../src/cli/command.ts";
import { login } from "../../../src/cli/mcp-login.ts";
import { openInBrowser } from "../../../src/cli/open-browser.ts";
import { Config } from "../../../src/config.ts";
import { testWith } from "../../support/machine.ts";
import { tempFolder } from "../../support/temp.ts";
import { openAuthorizationServer, openResource } from "./oauth-servers.ts";
import { endOf } from "./oauth-support.ts";

/** A session of the command line over a home of its own; `told` is what went to stderr. */
async function openSession(home: string, servers: unknown, told: string[]): Promise<Session & AsyncDisposable> {
  const app = await openApp({ home, config: Config.parse({ mcp: { servers } }) });
  const nothing = (): void => {};
  return {
    app,
    signal: AbortSignal.timeout(110_000),
    catchInterrupt: () => ({ [Symbol.dispose]: nothing }),
    grant: () => Promise.reject(new Error("no grant is needed to sign in")),
    isGrantNamed: () => false,
    confined: false,
    demandOperator: nothing,
    commandLine: (words) => words,
    print: nothing,
    stream: nothing,
    tell: (text) => void told.push(text),
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

/** A folder on the path whose `xdg-open` writes down its arguments, one a line. */
async function openFakeBrowser(folder: string, then = ""): Promise<{ readonly args: () => Promise<string> }> {
  const out = join(folder, "args");
  const script = `#!/bin/sh\nprintf '%s\\n' "$@" > '${out}.part'\n/bin/mv '${out}.part' '${out}'\n${then}`;
  await writeFile(join(folder, "xdg-open"), script);
  await chmod(join(folder, "xdg-open"), 0o755);
  return { args: () => vi.waitFor(() => readFile(out, "utf8"), { timeout: 60_000 }) };
}

afterEach(() => vi.unstubAllEnvs());

describe("capstan mcp login", () => {
  testWith("linux")("signs in by the browser that the machine opens", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const fetching = `exec '${process.execPath}' -e 'fetch(process.argv[1]).then((r) => r.text())' "$1"\n`;
    await openFakeBrowser(folder.path, fetching);
    vi.stubEnv("PATH", folder.path);
    const told: string[] = [];
    await using session = await openSession(
      join(folder.path, "home"),
      { remote: { url: resource.url, private: true } },
      told,
    );
    expect(await login(session, "remote")).toBe(0);
    expect(told).toEqual([
      expect.stringContaining(`go to:\n${authorizationServer.origin}/authorize?`),
      `Signed in at remote. Its authorization server is "${authorizationServer.origin}".`,
    ]);
    expect(await readFile(join(folder.path, "home/mcp/credentials.json"), "utf8")).toContain("rt-");
  });

  test("says why there is nothing to sign in at", async () => {
    await using folder = await tempFolder();
    const told: string[] = [];
    const servers = {
      program: { command: "true" },
      keyed: { url: "https://mcp.example.com", auth: { type: "bearer", tokenEnv: "TOKEN" } },
    };
    await using session = await openSession(folder.path, servers, told);
    for (const name of ["program", "keyed", "keyyed", "constructor"]) {
      expect([name, await endOf(login(session, name))]).toEqual([name, "usage.bad_option"]);
    }
    await expect(login(session, "keyyed")).rejects.toThrow("Did you mean keyed?");
  });
});

describe("openInBrowser()", () => {
  testWith("linux")(
    "B31: hands the URL over as one argument that no shell reads, and keeps Capstan's own variables",
    async () => {
      await using folder = await tempFolder();
      const browser = await openFakeBrowser(
        folder.path,
        `printf '%s' "$CAPSTAN_GRANT$DISPLAY" > '${folder.path}/env'\n`,
      );
      const { href } = new URL("https://evil.example/$(touch${IFS}owned);`id`|x&a='b'\"c d");
      const env = { PATH: folder.path, CAPSTAN_GRANT: "token", DISPLAY: ":0" };
      expect(await openInBrowser(href, env)).toBe(true);
      expect(await browser.args()).toBe(`${href}\n`);
      expect(href).toContain("$(touch$");
      await vi.waitFor(async () => expect(await readFile(join(folder.path, "env"), "utf8")).toBe(":0"));
      expect(await openInBrowser(href, { PATH: join(folder.path, "nowhere") })).toBe(false);
    },
  );
});

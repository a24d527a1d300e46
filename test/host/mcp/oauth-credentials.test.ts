import { spawn } from "node:child_process";
import { chmod, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { openCredentials } from "../../../src/host/mcp/oauth/credentials.ts";
import { tempFolder } from "../../support/temp.ts";
import { openAuthorizationServer, openResource } from "./oauth-servers.ts";
import { agreeing, endOf, openTestSignIn } from "./oauth-support.ts";

const key = { user: "operator", server: "remote", url: "https://mcp.example.com/" };
const tokens = { access_token: "at-1", token_type: "Bearer" };

/** Runs a program in a process of its own; gives what it printed. */
async function inProcess(program: string, ...args: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, ...args], { env: {} });
  const [printed, problem] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (problem !== "") throw new Error(problem);
  return printed;
}

const source = (name: string): string => JSON.stringify(join(import.meta.dirname, "../../../src/host/mcp", name));

describe("openCredentials()", () => {
  test("keeps one for each user, server and issuer, in a file of the owner alone", async () => {
    await using folder = await tempFolder();
    const credentials = openCredentials(folder.path);
    expect(await credentials.of(key)).toEqual([]);
    await credentials.save(key, "https://a.example", { tokens });
    await credentials.save(key, "https://b.example", { tokens: { ...tokens, access_token: "at-2" } });
    await credentials.save({ ...key, user: "other" }, "https://a.example", { tokens });
    await credentials.save(key, "https://a.example", { tokens: { ...tokens, access_token: "at-3" } });
    expect((await credentials.of(key)).map((one) => [one.issuer, one.tokens?.access_token])).toEqual([
      ["https://b.example", "at-2"],
      ["https://a.example", "at-3"],
    ]);
    const path = join(folder.path, "mcp", "credentials.json");
    expect([(await stat(path)).mode & 0o777, (await stat(join(folder.path, "mcp"))).mode & 0o777]).toEqual([
      0o600, 0o700,
    ]);
    expect((await readdir(join(folder.path, "mcp"))).sort()).toEqual(["credentials.json", "credentials.lock"]);

    await credentials.save({ ...key, url: "https://new.example/" }, "https://a.example", { tokens });
    expect(await credentials.of(key)).toEqual([]);
    expect(await credentials.of({ ...key, user: "other" })).toHaveLength(1);
  });

  test("refuses a file that others may use, a link, a folder and a damaged one, and reads it once it is put right", async () => {
    await using folder = await tempFolder();
    const credentials = openCredentials(folder.path);
    await credentials.save(key, "https://a.example", { tokens });
    const path = join(folder.path, "mcp", "credentials.json");
    for (const mode of [0o640, 0o604, 0o620, 0o602]) {
      await chmod(path, mode);
      expect([mode, await endOf(credentials.of(key))]).toEqual([mode, "config.unsafe_home"]);
      expect(await endOf(credentials.save(key, "https://b.example", { tokens }))).toBe("config.unsafe_home");
    }
    await chmod(path, 0o600);
    expect(await credentials.of(key)).toHaveLength(1);

    const moved = join(folder.path, "moved.json");
    await rename(path, moved);
    await symlink(moved, path);
    expect(await endOf(credentials.of(key))).toBe("config.unsafe_home");
    await rename(moved, path);
    expect(await credentials.of(key)).toHaveLength(1);

    const whole = await readFile(path, "utf8");
    for (const damaged of ["", "{", whole.slice(0, -20), '{"v":2,"credentials":[]}']) {
      await writeFile(path, damaged);
      await expect(credentials.of(key)).rejects.toMatchObject({
        code: "config.malformed",
        message: expect.not.stringContaining("at-1"),
      });
    }
    await writeFile(path, whole);
    expect(await credentials.of(key)).toHaveLength(1);
    await using other = await tempFolder();
    await mkdir(join(other.path, "mcp", "credentials.json"), { recursive: true });
    expect(await endOf(openCredentials(other.path).of(key))).toBe("config.unsafe_home");
  });

  test("loses nothing when several processes write at the same time", async () => {
    await using folder = await tempFolder();
    const program = `
      import { openCredentials } from ${source("oauth/credentials.ts")};
      const [home, user] = process.argv.slice(1);
      const credentials = openCredentials(home);
      for (let at = 0; at < 10; at++) {
        const key = { user, server: "s" + at, url: "https://mcp.example.com/" };
        await credentials.save(key, "https://a.example", { tokens: { access_token: user + at, token_type: "Bearer" } });
      }`;
    const users = ["a", "b", "c", "d"];
    await Promise.all(users.map((user) => inProcess(program, folder.path, user)));
    const credentials = openCredentials(folder.path);
    for (const user of users) {
      for (let at = 0; at < 10; at++) {
        const kept = await credentials.of({ user, server: `s${at}`, url: key.url });
        expect(kept.map((one) => one.tokens?.access_token)).toEqual([`${user}${at}`]);
      }
    }
  });
});

describe("a refresh token that is good for one use", () => {
  test("is used once by processes that find the token ended at the same time", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const person = openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing });
    await person.renew(AbortSignal.timeout(110_000));
    authorizationServer.expireAll();
    const program = `
      import { guardedFetch } from ${source("guarded-fetch.ts")};
      import { openSignIn } from ${source("oauth/sign-in.ts")};
      const [home, url] = process.argv.slice(1);
      const services = { server: "remote", auth: undefined, isPrivate: true, user: "operator", env: {}, log() {} };
      const { fetch } = openSignIn({ ...services, home, url, fetch: guardedFetch(true) });
      console.log(await (await fetch(url)).text());`;
    const ends = await Promise.all(Array.from({ length: 4 }, () => inProcess(program, folder.path, resource.url)));
    expect(ends).toEqual(Array.from({ length: 4 }, () => "served\n"));
    const refreshes = authorizationServer
      .tokenRequests()
      .filter(({ body }) => body.includes("grant_type=refresh_token"));
    expect(refreshes).toHaveLength(1);
    expect(refreshes[0]?.path).toBe("/token");
  });
});

import { describe, expect, test } from "vitest";
import { guardedFetch } from "../../../src/host/mcp/guarded-fetch.ts";
import { tempFolder } from "../../support/temp.ts";
import { openAuthorizationServer, openLoopback, openResource, sendJson } from "./oauth-servers.ts";
import { agreeing, endOf, openTestSignIn } from "./oauth-support.ts";

const soon = (): AbortSignal => AbortSignal.timeout(110_000);

describe("openSignIn() at a server that means harm", () => {
  test("B31: reads no metadata at an address that the server names inside, nor by another scheme", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using inside = await openLoopback((_, response) => sendJson(response, 200, {}));
    // The server itself is at a public address; what it names is not.
    const attacks = [`${inside.origin}/metadata`, "https://10.0.0.1/metadata", "file:///etc/passwd"];
    for (const challenge of attacks) {
      await using resource = await openResource(authorizationServer, { challenge });
      const { host } = new URL(resource.origin);
      const url = "https://mcp.example.com/mcp";
      const guarded = guardedFetch(false);
      const victim = openTestSignIn({
        home: folder.path,
        url,
        isPrivate: false,
        openBrowser: agreeing,
        fetch: async (input, init) =>
          String(input) === url ? await fetch(`http://${host}/mcp`, init) : await guarded(input, init),
      });
      expect([challenge, await endOf(victim.fetch(url))]).toEqual([challenge, "mcp.url_refused"]);
    }
    expect(inside.seen).toEqual([]);
    await using lawful = await openResource(authorizationServer);
    const person = openTestSignIn({ home: folder.path, url: lawful.url, openBrowser: agreeing });
    expect((await person.fetch(lawful.url)).status).toBe(200);
  });

  test("B31: opens no browser and sends nothing where an endpoint is no https URL", async () => {
    await using folder = await tempFolder();
    const opened: string[] = [];
    const openBrowser = async (url: string): Promise<void> => {
      opened.push(url);
      await agreeing(url);
    };
    const endpoints = [
      "file:///etc/passwd",
      "http://evil.example/$(touch%20/tmp/owned)",
      "ssh://evil.example/-oProxyCommand=x",
      "https://user:secret@evil.example/authorize",
      "http://10.0.0.1/authorize",
    ];
    for (const endpoint of endpoints) {
      for (const name of ["authorization_endpoint", "token_endpoint", "registration_endpoint"]) {
        await using authorizationServer = await openAuthorizationServer({ metadata: { [name]: endpoint } });
        await using resource = await openResource(authorizationServer);
        const victim = openTestSignIn({ home: folder.path, url: resource.url, openBrowser });
        expect([name, endpoint, await endOf(victim.renew(soon()))]).toEqual([name, endpoint, "mcp.url_refused"]);
        expect(authorizationServer.clients.size).toBe(0);
      }
    }
    expect(opened).toEqual([]);
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    await openTestSignIn({ home: folder.path, url: resource.url, openBrowser }).renew(soon());
    expect(opened.map((url) => new URL(url).origin)).toEqual([authorizationServer.origin]);
  });

  test("gives no code to a token endpoint when the answer comes from another issuer, or from none", async () => {
    await using folder = await tempFolder();
    for (const iss of ["https://evil.example", null]) {
      await using authorizationServer = await openAuthorizationServer({ iss });
      await using resource = await openResource(authorizationServer);
      const victim = openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing });
      await expect(victim.renew(soon())).rejects.toMatchObject({
        code: "mcp.sign_in_failed",
        message: expect.not.stringContaining("evil"),
      });
      expect(authorizationServer.tokenRequests()).toEqual([]);
    }
  });

  test("takes no metadata that calls itself another issuer, and no resource that is another server", async () => {
    await using folder = await tempFolder();
    await using posing = await openAuthorizationServer({ metadata: { issuer: "https://login.example.com" } });
    await using atPosing = await openResource(posing);
    const victim = { home: folder.path, openBrowser: agreeing };
    expect(await endOf(openTestSignIn({ ...victim, url: atPosing.url }).renew(soon()))).toBe("mcp.sign_in_failed");

    await using honest = await openAuthorizationServer();
    const metadata = { resource: "https://bank.example.com/mcp", authorization_servers: [honest.origin] };
    await using greedy = await openResource(honest, { metadata });
    expect(await endOf(openTestSignIn({ ...victim, url: greedy.url }).renew(soon()))).toBe("mcp.sign_in_failed");
    expect([...posing.tokenRequests(), ...honest.tokenRequests()]).toEqual([]);
  });

  test("waits on when a page guesses the state, and takes one answer only", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const statuses: number[] = [];
    const victim = openTestSignIn({
      home: folder.path,
      url: resource.url,
      openBrowser: async (address) => {
        const back = new URL(new URL(address).searchParams.get("redirect_uri") ?? "");
        expect(back.hostname).toBe("127.0.0.1");
        for (const guess of ["", "?state=guess&code=evil", "?code=evil"]) {
          statuses.push((await fetch(`${back.href}${guess}`)).status);
        }
        statuses.push((await fetch(new URL("/other", back))).status);
        await agreeing(address);
      },
    });
    expect(await victim.renew(soon())).toBe(authorizationServer.origin);
    expect(statuses).toEqual([400, 400, 400, 404]);
    const codes = authorizationServer.tokenRequests().map(({ body }) => new URLSearchParams(body).get("code"));
    expect(codes).not.toContain("evil");
    expect(codes).toHaveLength(1);
  });

  test("never shows one server's token to another, nor to another origin", async () => {
    await using folder = await tempFolder();
    await using one = await openAuthorizationServer();
    await using two = await openAuthorizationServer();
    await using atOne = await openResource(one);
    await using atTwo = await openResource(two);
    await using elsewhere = await openLoopback((_, response) => sendJson(response, 401, {}));
    const first = openTestSignIn({ home: folder.path, server: "one", url: atOne.url, openBrowser: agreeing });
    const second = openTestSignIn({ home: folder.path, server: "two", url: atTwo.url, openBrowser: agreeing });
    expect((await first.fetch(atOne.url)).status).toBe(200);
    expect((await second.fetch(atTwo.url)).status).toBe(200);
    expect((await first.fetch(`${elsewhere.origin}/mcp`)).status).toBe(401);
    expect(elsewhere.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
    const [shownToOne, shownToTwo] = [new Set(atOne.tokens()), new Set(atTwo.tokens())];
    expect([...shownToOne].filter((token) => token !== undefined && shownToTwo.has(token))).toEqual([]);
    expect(shownToOne.size + shownToTwo.size).toBe(4);

    // The name stands for another URL now: what was got for the first is not for it.
    const renamed = openTestSignIn({ home: folder.path, server: "one", url: atTwo.url });
    expect(await endOf(renamed.fetch(atTwo.url))).toBe("mcp.sign_in_needed");
    // Another user of the same home has none.
    const other = openTestSignIn({ home: folder.path, server: "one", url: atOne.url, user: "other" });
    expect(await endOf(other.fetch(atOne.url))).toBe("mcp.sign_in_needed");
  });

  test("sends neither refresh token nor secret to an authorization server that took the place of the first", async () => {
    await using folder = await tempFolder();
    await using honest = await openAuthorizationServer();
    await using evil = await openAuthorizationServer();
    await using resource = await openResource(honest);
    const auth = { type: "client_credentials" as const, clientId: "machine", clientSecretEnv: "S", scopes: [] };
    const env = { S: honest.machine.secret };
    const machine = { home: folder.path, server: "machine", url: resource.url, auth, env };
    const person = { home: folder.path, server: "person", url: resource.url };
    expect((await openTestSignIn(machine).fetch(resource.url)).status).toBe(200);
    await openTestSignIn({ ...person, openBrowser: agreeing }).renew(soon());

    resource.moveTo(evil);
    expect(await endOf(openTestSignIn(machine).fetch(resource.url))).toBe("mcp.sign_in_needed");
    expect(await endOf(openTestSignIn(person).fetch(resource.url))).toBe("mcp.sign_in_needed");
    expect(evil.tokenRequests()).toEqual([]);
    expect(evil.clients.size).toBe(0);
    // Pinned in the config, not even `mcp login` goes there.
    const pinned = openTestSignIn({ ...machine, auth: { ...auth, issuer: honest.origin } });
    expect(await endOf(pinned.renew(soon()))).toBe("mcp.sign_in_failed");
    expect(evil.tokenRequests()).toEqual([]);
    // A person who signs in anew accepts the new one; what was got from the first stays unsent.
    expect(await openTestSignIn({ ...person, openBrowser: agreeing }).renew(soon())).toBe(evil.origin);
    expect(evil.tokenRequests().map(({ body }) => new URLSearchParams(body).get("grant_type"))).toEqual([
      "authorization_code",
    ]);
    resource.moveTo(honest);
    expect((await openTestSignIn(machine).fetch(resource.url)).status).toBe(200);
  });
});

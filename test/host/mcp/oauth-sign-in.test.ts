import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCredentials } from "../../../src/host/mcp/oauth/credentials.ts";
import { tempFolder } from "../../support/temp.ts";
import { openAuthorizationServer, openResource } from "./oauth-servers.ts";
import { agreeing, endOf, openTestSignIn } from "./oauth-support.ts";

const textOf = async (response: Promise<Response>): Promise<string> => await (await response).text();

/** A port that nobody listens on just now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

describe("openSignIn()", () => {
  test("signs in by authorization code with PKCE for this resource, and another process needs nobody", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const lines: string[] = [];
    const log = (line: string): void => void lines.push(line);
    const person = openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing, log });
    expect(await textOf(person.fetch(resource.url))).toBe("served");
    const [exchange] = authorizationServer.tokenRequests();
    expect(new URLSearchParams(exchange?.body).get("resource")).toBe(resource.url);

    const nobody = openTestSignIn({ home: folder.path, url: resource.url });
    expect(await textOf(nobody.fetch(resource.url))).toBe("served");
    expect(authorizationServer.tokenRequests()).toHaveLength(1);
    expect(lines).toEqual([`Signed in at ${JSON.stringify(authorizationServer.origin)} for remote.`]);
  });

  test("without a person says which command signs in, and registers nothing", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const nobody = openTestSignIn({ home: folder.path, url: resource.url });
    await expect(nobody.fetch(resource.url)).rejects.toMatchObject({
      code: "mcp.sign_in_needed",
      message: "Nobody is signed in at remote. Sign in: capstan mcp login remote",
    });
    expect(authorizationServer.clients.size).toBe(0);
    expect(
      await openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing }).renew(
        AbortSignal.timeout(110_000),
      ),
    ).toBe(authorizationServer.origin);
    expect(await textOf(nobody.fetch(resource.url))).toBe("served");
  });

  test("finds the token that somebody signed in for meanwhile, at a server that serves without one too", async () => {
    await using folder = await tempFolder();
    const url = "https://remote.example/mcp";
    const presented: (string | null)[] = [];
    const fetch = (_input: string | URL, init?: RequestInit): Promise<Response> => {
      presented.push(new Headers(init?.headers).get("authorization"));
      return Promise.resolve(new Response("served"));
    };
    const nobody = openTestSignIn({ home: folder.path, url, fetch });
    await nobody.fetch(url);
    const kept = { tokens: { access_token: "at-1", token_type: "Bearer" } };
    await openCredentials(folder.path).save({ user: "operator", server: "remote", url }, "https://as.example", kept);
    const next = async () => {
      await nobody.fetch(url);
      return presented.at(-1);
    };
    await expect.poll(next).toBe("Bearer at-1");
    expect(presented[0]).toBeNull();
  });

  test("renews a token that has ended by its refresh token, which is rotated, once for all that wait", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const person = openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing });
    await person.renew(AbortSignal.timeout(110_000));
    const nobody = openTestSignIn({ home: folder.path, url: resource.url });
    for (const round of [1, 2]) {
      authorizationServer.expireAll();
      const all = await Promise.all(Array.from({ length: 5 }, () => textOf(nobody.fetch(resource.url))));
      expect(all).toEqual(Array.from({ length: 5 }, () => "served"));
      expect(authorizationServer.tokenRequests()).toHaveLength(1 + round);
    }
  });

  test("keeps a refresh token that its server leaves as it is", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer({ keepsRefreshTokens: true });
    await using resource = await openResource(authorizationServer);
    const home = folder.path;
    await openTestSignIn({ home, url: resource.url, openBrowser: agreeing }).renew(AbortSignal.timeout(110_000));
    for (let times = 0; times < 2; times++) {
      authorizationServer.expireAll();
      expect(await textOf(openTestSignIn({ home, url: resource.url }).fetch(resource.url))).toBe("served");
    }
  });

  test("says that a sign-in has ended once the refresh token is refused", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    await openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing }).renew(
      AbortSignal.timeout(110_000),
    );
    const stolen = /"(rt-[^"]+)"/.exec(await readFile(join(folder.path, "mcp", "credentials.json"), "utf8"))?.[1] ?? "";
    const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token: stolen, resource: resource.url });
    expect((await fetch(`${authorizationServer.origin}/token`, { method: "POST", body })).status).toBe(200);
    authorizationServer.expireAll();
    const nobody = openTestSignIn({ home: folder.path, url: resource.url });
    expect(await endOf(nobody.fetch(resource.url))).toBe("mcp.sign_in_needed");
    expect(await readFile(join(folder.path, "mcp", "credentials.json"), "utf8")).not.toContain("rt-");
  });

  test.each([
    ["is known by its metadata document where the authorization server takes one", true],
    ["registers where the authorization server takes no metadata document", false],
  ])("%s", async (_what, isTaken) => {
    await using folder = await tempFolder();
    const metadata = { client_id_metadata_document_supported: isTaken };
    await using authorizationServer = await openAuthorizationServer({ metadata });
    await using resource = await openResource(authorizationServer);
    const clientMetadataUrl = "https://example.com/capstan.json";
    const callbackPort = await freePort();
    const redirects = [`http://127.0.0.1:${callbackPort}/callback`];
    if (isTaken) authorizationServer.clients.set(clientMetadataUrl, redirects);
    const type = "authorization_code" as const;
    const auth = { type, scopes: [], callbackPort, clientMetadataUrl };
    const given = { home: folder.path, url: resource.url, auth };
    expect(await textOf(openTestSignIn({ ...given, openBrowser: agreeing }).fetch(resource.url))).toBe("served");
    expect([...authorizationServer.clients]).toEqual([[isTaken ? clientMetadataUrl : "client-1", redirects]]);
    authorizationServer.expireAll();
    expect(await textOf(openTestSignIn(given).fetch(resource.url))).toBe("served");
    expect(authorizationServer.clients.size).toBe(1);
  });

  test("signs in by client credentials, whose secret comes from the environment", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const auth = { type: "client_credentials", clientId: "machine", clientSecretEnv: "SECRET", scopes: ["a"] } as const;
    const services = { home: folder.path, url: resource.url, auth: { ...auth, scopes: [...auth.scopes] } };
    expect(await endOf(openTestSignIn(services).fetch(resource.url))).toBe("config.bad_value");
    const env = { SECRET: authorizationServer.machine.secret };
    expect(await textOf(openTestSignIn({ ...services, env }).fetch(resource.url))).toBe("served");
    const [request] = authorizationServer.tokenRequests();
    expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
      grant_type: "client_credentials",
      scope: "a",
      resource: resource.url,
    });
    const wrong = openTestSignIn({ ...services, user: "other", env: { SECRET: "wrong" } });
    await expect(wrong.fetch(resource.url)).rejects.toMatchObject({
      code: "mcp.sign_in_failed",
      message: expect.stringContaining("the authorization server answered invalid_client"),
    });
  });

  test("widens a token where a person agrees, and not beyond the scopes of the config", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer, { scope: "write" });
    const person = { home: folder.path, url: resource.url, openBrowser: agreeing };
    expect(await textOf(openTestSignIn(person).fetch(resource.url))).toBe("served");
    const auth = { type: "authorization_code" as const, scopes: ["read"], callbackPort: 0 };
    const bounded = openTestSignIn({ ...person, user: "other", auth });
    await expect(bounded.fetch(resource.url)).rejects.toMatchObject({
      code: "mcp.sign_in_needed",
      message: expect.stringContaining('wants a token with the scope "write"'),
    });
  });

  test("is told by a person who declines, and says nothing of the server's own words", async () => {
    await using folder = await tempFolder();
    for (const [error, shown] of [
      ["access_denied", "access_denied"],
      ["<b>call 555</b>", "without a code"],
    ] as const) {
      await using authorizationServer = await openAuthorizationServer({ error });
      await using resource = await openResource(authorizationServer);
      const person = openTestSignIn({ home: folder.path, url: resource.url, openBrowser: agreeing });
      await expect(person.fetch(resource.url)).rejects.toMatchObject({
        code: "mcp.sign_in_failed",
        message: `The sign-in at remote was refused (${shown}). To try again: capstan mcp login remote`,
      });
    }
  });

  test("stops waiting for the browser when it is told to", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    await using resource = await openResource(authorizationServer);
    const controller = new AbortController();
    const reason = new Error("enough");
    const away = openTestSignIn({
      home: folder.path,
      url: resource.url,
      openBrowser: async () => void setTimeout(() => controller.abort(reason), 20),
    });
    await expect(away.renew(controller.signal)).rejects.toBe(reason);
  });

  test("asks nothing of a server that wants no token", async () => {
    await using folder = await tempFolder();
    await using authorizationServer = await openAuthorizationServer();
    const open = openTestSignIn({ home: folder.path, url: `${authorizationServer.origin}/elsewhere` });
    expect(await open.renew(AbortSignal.timeout(110_000))).toBeUndefined();
    expect((await open.fetch(`${authorizationServer.origin}/elsewhere`)).status).toBe(404);
  });
});

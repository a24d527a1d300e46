import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { canonicalJson } from "../../src/core/json.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import type { Keys } from "../../src/permissions/keys.ts";
import { openKeys } from "../../src/permissions/keys.ts";
import { mintToken, verifyToken } from "../../src/permissions/token.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf, openTestHome, right, root, sameAs, start, t1 } from "./grants.ts";

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token with any header and claims, signed by the home's own key: what only the home itself could forge. */
function signedBy(keys: Pick<Keys, "sign">, header: unknown, claims: unknown): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${keys.sign(Buffer.from(signed)).toString("base64url")}`;
}

const parts = (token: string): [string, string, string] => {
  const [header = "", payload = "", signature = ""] = token.split(".");
  return [header, payload, signature];
};

async function openHomeKeys() {
  const folder = await tempFolder();
  const keys = await openKeys(folder.path);
  const header = { alg: "EdDSA", typ: "capstan-grant", kid: keys.kid };
  const claims = { aud: keys.kid, grant: t1, iss: keys.kid };
  return { keys, header, claims, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe("verifyToken()", () => {
  test("gives back the grant that was minted, frozen to its leaves", async () => {
    await using home = await openHomeKeys();
    const grant = verifyToken(mintToken(t1, home.keys), home.keys);
    expect(grant).toEqual(t1);
    expect(Object.isFrozen(grant.rights.tools[0]?.args?.[0]?.rule)).toBe(true);
    expect(verifyToken(signedBy(home.keys, home.header, home.claims), home.keys)).toEqual(t1);
  });

  test("65: refuses a token that an attacker signed in the home's name", async () => {
    await using home = await openHomeKeys();
    const { privateKey } = generateKeyPairSync("ed25519");
    const forged = signedBy({ sign: (data) => sign(null, data, privateKey) }, home.header, home.claims);
    expect(codeOf(() => verifyToken(forged, home.keys))).toBe("token.bad_signature");
    const widened = { ...home.claims, grant: { ...t1, expiresAt: t1.expiresAt + 1 } };
    const [header, , signature] = parts(mintToken(t1, home.keys));
    expect(codeOf(() => verifyToken(`${header}.${encode(widened)}.${signature}`, home.keys))).toBe(
      "token.bad_signature",
    );
  });

  test("66, 68: refuses every header but its own, even when its own key signed it", async () => {
    await using home = await openHomeKeys();
    const { keys, header, claims } = home;
    const others = [
      { ...header, alg: "none" },
      { ...header, alg: "HS256" },
      { ...header, typ: "JWT" },
      { ...header, kid: "another" },
      { ...header, jwk: { kty: "OKP" } },
      { ...header, jku: "https://evil.test/keys" },
      { ...header, x5u: "https://evil.test/cert" },
      { ...header, crit: ["exp"], exp: 1 },
      { typ: header.typ, alg: header.alg, kid: header.kid },
      { alg: header.alg, kid: header.kid },
      [],
    ];
    for (const other of others) {
      expect([other, codeOf(() => verifyToken(signedBy(keys, other, claims), keys))]).toEqual([
        other,
        "token.bad_header",
      ]);
    }
    const [, payload] = parts(mintToken(t1, keys));
    const unsigned = `${encode({ ...header, alg: "none" })}.${payload}.`;
    expect(codeOf(() => verifyToken(unsigned, keys))).toBe("token.bad_header");
    const publicAsSecret = `${encode({ ...header, alg: "HS256" })}.${payload}`;
    const tag = createHmac("sha256", keys.kid).update(publicAsSecret).digest("base64url");
    expect(codeOf(() => verifyToken(`${publicAsSecret}.${tag}`, keys))).toBe("token.bad_header");
  });

  test("69: refuses a token for another audience or of another issuer", async () => {
    await using home = await openHomeKeys();
    for (const other of [{ aud: "another" }, { iss: "another" }]) {
      const token = signedBy(home.keys, home.header, { ...home.claims, ...other });
      expect(codeOf(() => verifyToken(token, home.keys))).toBe("token.bad_audience");
    }
    await using neighbour = await openHomeKeys();
    expect(codeOf(() => verifyToken(mintToken(t1, neighbour.keys), home.keys))).toBe("token.bad_header");
  });

  test("77: refuses what is no token", async () => {
    await using home = await openHomeKeys();
    const token = mintToken(t1, home.keys);
    const [header, payload, signature] = parts(token);
    const none = [
      "",
      ".",
      "..",
      "a.b.c",
      "a.b",
      `${token}.x`,
      ` ${token}`,
      `${token}\n`,
      `${header}.${payload}`,
      "x".repeat(20_000),
    ];
    // The same bytes in another spelling of base64.
    none.push(
      `${header}.${payload}.${signature}=`,
      `${header}.${payload}.${signature.slice(0, 40)} ${signature.slice(40)}`,
    );
    for (const text of none)
      expect([text, codeOf(() => verifyToken(text, home.keys))]).toEqual([text, "token.malformed"]);
  });

  test("77: refuses claims that are not exactly a grant, even when its own key signed them", async () => {
    await using home = await openHomeKeys();
    const { keys, header, claims } = home;
    const { epoch: _, ...withoutEpoch } = t1;
    const regex = { ...right("fs/read"), args: [{ name: "path", rule: { type: "regex", of: ".*" }, optional: false }] };
    const others: unknown[] = [
      { ...claims, admin: true },
      { ...claims, grant: { ...t1, admin: true } },
      { ...claims, grant: withoutEpoch },
      { ...claims, grant: { ...t1, limits: { calls: -1 } } },
      { ...claims, grant: { ...t1, expiresAt: "never" } },
      { ...claims, grant: { ...t1, rights: { ...t1.rights, tools: [regex] } } },
      { ...claims, grant: null },
      "text",
    ];
    for (const other of others) {
      expect(codeOf(() => verifyToken(signedBy(keys, header, other), keys))).toBe("token.malformed");
    }
  });
});

describe("mintToken()", () => {
  test("refuses a grant that would be larger than what is ever looked at", async () => {
    await using home = await openHomeKeys();
    const many = Array.from({ length: 250 }, (_, at) =>
      right(`tool_with_a_long_name_${at}`, [], { pin: "x".repeat(60) }),
    );
    expect(codeOf(() => mintToken(root({ tools: many }), home.keys))).toBe("usage.bad_option");
    const most = mintToken(root({ tools: many.slice(0, 60) }), home.keys);
    expect(codeOf(() => verifyToken(most, home.keys))).toBe("allow");
  });
});

describe("Permissions.verify()", () => {
  const live = (grant: Grant, now: number): Grant => ({
    ...grant,
    issuedAt: now,
    notBefore: now,
    expiresAt: now + 60_000,
  });

  test("B46: the payload of a remembered token under another signature is refused", async () => {
    await using home = await openTestHome();
    const grant = live(t1, home.permissions.now());
    const token = home.permissions.mint(grant);
    expect(await home.permissions.verify(token)).toEqual(grant);
    const [header, payload] = parts(token);
    const [, , other] = parts(home.permissions.mint({ ...grant, id: "other" }));
    const zeros = Buffer.alloc(64).toString("base64url");
    for (const signature of [other, zeros]) {
      await expect(home.permissions.verify(`${header}.${payload}.${signature}`)).rejects.toMatchObject({
        code: "token.bad_signature",
      });
    }
    expect(await home.permissions.verify(token)).toBe(await home.permissions.verify(token));
  });

  test("71: refuses a token from the future, and allows for a second between processes", async () => {
    await using home = await openTestHome();
    const now = home.permissions.now();
    const future = home.permissions.mint({ ...live(t1, now), issuedAt: now + 60_000 });
    await expect(home.permissions.verify(future)).rejects.toMatchObject({ code: "token.not_yet_valid" });
    const early = home.permissions.mint({ ...live(t1, now), notBefore: now + 60_000 });
    await expect(home.permissions.verify(early)).rejects.toMatchObject({ code: "token.not_yet_valid" });
    const near = { ...live(t1, now), issuedAt: now + 1000, notBefore: now + 1000 };
    expect(await home.permissions.verify(home.permissions.mint(near))).toEqual(near);
  });

  test("B49: a token that has ended refuses, also when it was good a moment ago", async () => {
    let now = start;
    await using home = await openTestHome({ clock: () => now });
    const token = home.permissions.mint(t1);
    expect((await home.permissions.verify(token)).id).toBe("t1");
    now = t1.expiresAt;
    await expect(home.permissions.verify(token)).rejects.toMatchObject({ code: "token.expired" });
  });

  test("72: a child dies with its parent, in every process of the home within a second", async () => {
    let now = start;
    await using home = await openTestHome({ clock: () => now });
    await using other = await openTestHome({ clock: () => now, home: home.home });
    const child = derive(t1, sameAs(t1), { id: "child", now });
    const neighbour = home.permissions.mint(root({}, { id: "neighbour" }));
    const token = home.permissions.mint(child);
    expect((await home.permissions.verify(token)).id).toBe("child");
    expect((await other.permissions.verify(token)).id).toBe("child");
    await home.permissions.revoke("t1", "stolen");
    await expect(home.permissions.verify(token)).rejects.toMatchObject({ code: "token.revoked" });
    now += 1000;
    await expect(other.permissions.verify(token)).rejects.toMatchObject({ code: "token.revoked" });
    expect((await other.permissions.verify(neighbour)).id).toBe("neighbour");
    expect((await home.permissions.verify(neighbour)).id).toBe("neighbour");
  });

  test("a token says the whole grant, so that its text changes with any part of it", async () => {
    await using home = await openTestHome();
    const [, payload] = parts(home.permissions.mint(t1));
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString());
    expect(canonicalJson(claims)).toBe(canonicalJson({ aud: home.keys.kid, iss: home.keys.kid, grant: t1 }));
  });
});

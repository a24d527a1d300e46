import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/core/json.ts";
import { demand } from "../../src/permissions/demand.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { signClaims } from "../../src/permissions/token.ts";
import { handClock } from "../support/clock.ts";
import { codeOf, codeOfAsync, minute, openTestHome, right, root, sameAs, scope, start } from "./grants.ts";

const toRight = (name: string) => right(name, undefined, { pin: sha256(name) });
const names = Array.from({ length: 500 }, (_, index) => `server${index % 20}__tool_${index}`);
const many = (over: Partial<Grant> = {}): Grant => root({ tools: names.map(toRight), approve: names }, over);
const call = (name: string, pin = sha256(name)) => [{ type: "tool" as const, name, pin, args: {} }];
const kind = "token-rights";

const openHome = (home?: string) => {
  const clock = handClock(start);
  return openTestHome({ clock, ...(home === undefined ? {} : { home }) }).then((opened) =>
    Object.assign(opened, { advance: (ms: number) => clock.advance(ms) }),
  );
};

const headerOf = (token: string): unknown => JSON.parse(atob(token.split(".")[0] ?? ""));

describe("issue()", () => {
  test("makes of 500 tools a token that a header holds, and every process of the home reads the whole grant", async () => {
    await using home = await openHome();
    const token = await home.permissions.issue(many());
    expect(token.length).toBeLessThan(1_500);
    expect(await home.permissions.verify(token)).toEqual(many());
    await using other = await openHome(home.home);
    const grant = await other.permissions.verify(token);
    expect(grant).toEqual(many());
    expect(Object.isFrozen(grant.rights.tools[499])).toBe(true);
  });

  test("makes a flat token of a small grant, and the other form where that would be long", async () => {
    await using home = await openHome();
    const small = root({ tools: names.slice(0, 20).map(toRight) });
    expect(await home.permissions.issue(small)).toBe(home.permissions.mint(small));
    expect(await home.store.records(scope, kind)).toEqual([]);
    expect(headerOf(await home.permissions.issue(many()))).toMatchObject({ typ: "capstan-large-grant" });
    expect(codeOf(() => home.permissions.mint(many()))).toBe("usage.bad_option");
  });

  test("allows what was granted, and neither a tool that appears later nor another definition of one", async () => {
    await using home = await openHome();
    const grant = await home.permissions.verify(await home.permissions.issue(many()));
    expect(codeOf(() => demand(grant, call("server3__tool_3"), start))).toBe("allow");
    expect(codeOf(() => demand(grant, call("server3__tool_500"), start))).toBe("permission.no_right");
    expect(codeOf(() => demand(grant, call("server3__tool_3", sha256("changed")), start))).toBe("permission.no_right");
    const child = derive(grant, sameAs(grant), { id: "child", now: start });
    expect(child.rights).toEqual(grant.rights);
    const wider = { ...sameAs(grant), rights: { ...grant.rights, tools: [...grant.rights.tools, toRight("new")] } };
    expect(codeOf(() => derive(grant, wider, { id: "child", now: start }))).toBe("permission.widen");
  });

  test("dies as a flat token does: by revocation, with an ancestor, and at its end", async () => {
    await using home = await openHome();
    const { permissions } = home;
    const parent = many();
    const child = derive(parent, sameAs(parent), { id: "child", now: start });
    const [one, two] = [await permissions.issue(parent), await permissions.issue(child)];
    await permissions.revoke("t0", "test");
    for (const token of [one, two]) {
      expect(await codeOfAsync(() => permissions.verify(token))).toBe("token.revoked");
    }
    const third = await permissions.issue(many({ id: "t3" }));
    expect(await codeOfAsync(() => permissions.verify(third))).toBe("allow");
    home.advance(60 * minute);
    expect(await codeOfAsync(() => permissions.verify(third))).toBe("token.expired");
  });

  test("keeps rights once for all tokens that hold them, until the last of these has ended", async () => {
    await using home = await openHome();
    const { permissions, store } = home;
    const short = await permissions.issue(many({ expiresAt: start + 10 * minute }));
    await permissions.issue(many({ id: "long", expiresAt: start + 30 * minute }));
    await permissions.issue(many({ id: "shortest", expiresAt: start + minute }));
    expect(await store.records(scope, kind)).toMatchObject([{ value: { expiresAt: start + 30 * minute } }]);

    const other = root({ tools: names.slice(1).map(toRight) }, { expiresAt: start + 90 * minute });
    home.advance(20 * minute);
    await permissions.issue(other);
    expect(await store.records(scope, kind)).toHaveLength(2);
    home.advance(20 * minute);
    await permissions.issue(other);
    expect(await store.records(scope, kind)).toHaveLength(1);
    await using later = await openHome(home.home);
    expect(await codeOfAsync(() => later.permissions.verify(short))).toBe("token.unreadable");
  });

  test("is made by two processes at once, of the same rights and of others", async () => {
    await using home = await openHome();
    await using other = await openHome(home.home);
    const grants = Array.from({ length: 10 }, (_, index) =>
      many({ id: `t${index}`, expiresAt: start + (index + 1) * minute }),
    );
    const tokens = await Promise.all(
      grants.flatMap((grant) => [home.permissions.issue(grant), other.permissions.issue(grant)]),
    );
    await using reader = await openHome(home.home);
    for (const token of tokens) expect(await codeOfAsync(() => reader.permissions.verify(token))).toBe("allow");
    expect(await home.store.records(scope, kind)).toMatchObject([{ value: { expiresAt: start + 10 * minute } }]);
  });
});

describe("a large token that was not issued so", () => {
  test("is refused: other rights in the store, another hash, another header, another home", async () => {
    await using home = await openHome();
    const { keys, permissions, store } = home;
    const token = await permissions.issue(many());
    const widened = { ...many().rights, tools: [...many().rights.tools, toRight("rm")] };
    const bytes = Buffer.from(JSON.stringify(widened));
    await store.commit({
      scope,
      records: [{ kind, key: sha256(bytes), value: { expiresAt: start + 60 * minute }, bytes }],
    });
    const { rights: _rights, ...grant } = many();
    const claims = { grant, rightsHash: sha256(bytes) };

    // The hash of rights that somebody put there, under a signature that was made for others.
    const [header, , signature] = token.split(".");
    const payload = Buffer.from(JSON.stringify({ ...claims, iss: keys.kid, aud: keys.kid })).toString("base64url");
    const forged = `${header}.${payload}.${signature}`;
    expect(await codeOfAsync(() => permissions.verify(forged))).toBe("token.bad_signature");
    // A flat token's claims under this header and the reverse, both signed by the home itself.
    for (const crossed of [
      signClaims("capstan-large-grant", { grant: many() }, keys),
      signClaims("capstan-grant", claims, keys),
      signClaims("capstan-large-grant", { grant: many(), rightsHash: claims.rightsHash }, keys),
      signClaims("capstan-large-grant", { ...claims, rightsHash: "../x" }, keys),
    ]) {
      expect(await codeOfAsync(() => permissions.verify(crossed))).toBe("token.malformed");
    }
    await using neighbour = await openHome();
    const theirs = await neighbour.permissions.issue(many());
    expect(await codeOfAsync(() => permissions.verify(theirs))).toBe("token.bad_header");

    // The right ones replaced: where the store gives something else, there is nothing.
    const [record] = (await store.records(scope, kind)).filter(({ key }) => key !== claims.rightsHash);
    await store.commit({ scope, records: [{ kind, key: record?.key ?? "", value: record?.value ?? null, bytes }] });
    await using reader = await openHome(home.home);
    expect(await codeOfAsync(() => reader.permissions.verify(token))).toBe("token.unreadable");
    // The lawful neighbour: what the home issues for those rights is good.
    const lawful = await reader.permissions.issue({ ...many(), rights: widened });
    expect((await reader.permissions.verify(lawful)).rights).toEqual(widened);
  });
});

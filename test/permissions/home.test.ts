import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { derive } from "../../src/permissions/derive.ts";
import { meet } from "../../src/permissions/meet.ts";
import { openHighWater } from "../../src/permissions/high-water.ts";
import { openRevocations } from "../../src/permissions/revocation.ts";
import type { Store } from "../../src/store/store.ts";
import { handClock } from "../support/clock.ts";
import { codeOf, codeOfAsync, minute, openTestHome, principal, root, sameAs, scope, start, t0, t1 } from "./grants.ts";

const hour = 60 * minute;

describe("the time of a home", () => {
  test("B44: a clock set back an hour revives nothing, and what is made meanwhile still ends", async () => {
    let now = start;
    await using home = await openTestHome({ clock: () => now });
    const { permissions } = home;
    now = start + 10 * minute;
    expect(codeOf(() => permissions.demandLive(t1))).toBe("token.expired");
    now -= hour;
    expect(codeOf(() => permissions.demandLive(t1))).toBe("token.expired");
    await permissions.refresh();
    const fresh = { ...t1, id: "fresh", issuedAt: permissions.now(), notBefore: permissions.now() };
    const short = { ...fresh, expiresAt: permissions.now() + minute };
    expect(codeOf(() => permissions.demandLive(short))).toBe("allow");
    now += minute;
    expect(codeOf(() => permissions.demandLive(short))).toBe("token.expired");
  });

  test("B44: a clock set forward an hour ends what it passes, and setting it right revives nothing", async () => {
    let now = start;
    await using home = await openTestHome({ clock: () => now });
    now += hour;
    expect(codeOf(() => home.permissions.demandLive(t1))).toBe("token.expired");
    now -= hour;
    expect(codeOf(() => home.permissions.demandLive(t1))).toBe("token.expired");
  });

  test("B44: holds across restarts and beside other processes", async () => {
    let now = start;
    let later = start;
    await using home = await openTestHome({ clock: () => now });
    {
      await using second = await openTestHome({ clock: () => later, home: home.home });
      later = start + hour;
      await second.permissions.refresh();
      now = start + 1000;
      await home.permissions.refresh();
      expect(home.permissions.now()).toBe(start + hour);
      later += 10;
      expect(second.permissions.now()).toBe(later);
    }
    await using third = await openTestHome({ clock: () => start, home: home.home });
    expect(third.permissions.now()).toBe(start + hour + 10);
    expect(codeOf(() => third.permissions.demandLive(t1))).toBe("token.expired");
  });

  test("is written at most once a second", async () => {
    const clock = handClock(start);
    await using home = await openTestHome({ clock });
    const version = async (): Promise<number> =>
      (await home.store.record(scope, "permission-state", "time"))?.version ?? 0;
    await using time = await openHighWater({ store: home.store, scope, clock });
    const before = await version();
    clock.advance(999);
    await time.sync();
    await time.sync();
    expect(await version()).toBe(before);
    clock.advance(1);
    await time.sync();
    expect(await version()).toBe(before + 1);
  });
});

describe("revocation", () => {
  test("72: ends a grant and all that was derived from it, and nothing beside it", async () => {
    await using home = await openTestHome({ clock: () => start });
    const { permissions } = home;
    const child = derive(t1, sameAs(t1), { id: "child", now: start });
    const grandchild = derive(child, sameAs(child), { id: "grandchild", now: start });
    await permissions.revoke("child", "lost");
    expect(codeOf(() => permissions.demandLive(child))).toBe("token.revoked");
    expect(codeOf(() => permissions.demandLive(grandchild))).toBe("token.revoked");
    expect(codeOf(() => permissions.demandLive(t1))).toBe("allow");
    expect(codeOf(() => permissions.demandLive(t0))).toBe("allow");
  });

  test("of a principal ends what it has, not what is made afterwards, and nobody else's", async () => {
    await using home = await openTestHome({ clock: () => start });
    const { permissions } = home;
    const other = root({}, { id: "other", principal: { org: "org1", user: "bob" } });
    await permissions.revokeAll(principal);
    expect(codeOf(() => permissions.demandLive(t0))).toBe("token.revoked");
    expect(codeOf(() => permissions.demandLive(root({}, { epoch: permissions.epoch(principal) })))).toBe("allow");
    expect(codeOf(() => permissions.demandLive(other))).toBe("allow");
    await permissions.revokeAll(principal);
    expect(permissions.epoch(principal)).toBe(2);
  });

  test("is known to every process of the home within a second, and after a restart", async () => {
    let now = start;
    await using home = await openTestHome({ clock: () => now });
    await using other = await openTestHome({ clock: () => now, home: home.home });
    await other.permissions.revoke("t1", "lost");
    await other.permissions.revokeAll({ org: "org1", user: "bob" });
    now += 1000;
    await home.permissions.refresh();
    expect(codeOf(() => home.permissions.demandLive(t1))).toBe("token.revoked");
    expect(home.permissions.epoch({ org: "org1", user: "bob" })).toBe(1);
    await using third = await openTestHome({ clock: () => now, home: home.home });
    expect(codeOf(() => third.permissions.demandLive(t1))).toBe("token.revoked");
    expect(codeOf(() => third.permissions.demandLive(t0))).toBe("allow");
  });

  test("reads lists of any length", async () => {
    await using home = await openTestHome({ clock: () => start });
    const records = Array.from({ length: 2500 }, (_, at) => ({ kind: "revocation", key: `r${at}`, value: {} }));
    await home.store.commit({ scope, records });
    const revocations = await openRevocations({ store: home.store, scope }, start);
    const isDead = (id: string): string => codeOf(() => revocations.demandUnrevoked(root({}, { id }), start));
    expect(["r0", "r999", "r1000", "r2499"].map(isDead)).toEqual(Array.from({ length: 4 }, () => "token.revoked"));
    expect(isDead("r2500")).toBe("allow");
  });

  test("that could not be read for a minute allows nothing, until it can be read again", async () => {
    let now = start;
    let broken = false;
    await using home = await openTestHome({ clock: () => now });
    const failing: Store = {
      ...home.store,
      record: async (...asked) => {
        if (broken) throw new CapstanError("store.unavailable", "The disk is gone.");
        return await home.store.record(...asked);
      },
      [Symbol.asyncDispose]: async () => {},
    };
    const revocations = await openRevocations({ store: failing, scope }, now);
    broken = true;
    now += minute;
    await expect(revocations.refresh(now)).rejects.toMatchObject({ code: "store.unavailable" });
    expect(codeOf(() => revocations.demandUnrevoked(t0, now))).toBe("allow");
    now += 1;
    expect(codeOf(() => revocations.demandUnrevoked(t0, now))).toBe("permission.revocations_stale");
    broken = false;
    await revocations.refresh(now);
    expect(codeOf(() => revocations.demandUnrevoked(t0, now))).toBe("allow");
  });
});

describe("named grants", () => {
  test("are saved once, found by name, and end by revocation, after which the name is free", async () => {
    await using home = await openTestHome({ clock: () => start });
    const { permissions } = home;
    const { named } = permissions;
    await named.save("desktop", t0);
    expect(await named.get("desktop")).toEqual(t0);
    expect((await named.list()).map(({ name, grant }) => [name, grant.id])).toEqual([["desktop", "t0"]]);
    expect(await codeOfAsync(() => named.save("desktop", t1))).toBe("store.conflict");
    expect((await named.get("desktop")).id).toBe("t0");
    await permissions.revoke("t0", "lost");
    expect(await codeOfAsync(() => named.get("desktop"))).toBe("token.revoked");
    const next = root({}, { id: "next" });
    await named.save("desktop", next);
    expect((await named.get("desktop")).id).toBe("next");
  });

  test("a name that is unknown refuses, and tells which there are", async () => {
    await using home = await openTestHome({ clock: () => start });
    await home.permissions.named.save("desktop", t0);
    await expect(home.permissions.named.get("laptop")).rejects.toMatchObject({
      code: "token.unknown_name",
      message: expect.stringContaining("desktop"),
    });
    for (const name of ["", "../x", "Desktop", "a b", "__proto__", "-x"]) {
      expect(await codeOfAsync(() => home.permissions.named.save(name, t0))).toBe("usage.bad_option");
    }
  });

  test("a grant that was written into the store by others, or widened there, is none", async () => {
    await using home = await openTestHome({ clock: () => start });
    await home.permissions.named.save("desktop", t1);
    const saved = JSON.stringify((await home.store.record(scope, "named-grant", "desktop"))?.value);
    const forge = async (key: string, value: string): Promise<string> => {
      await home.store.commit({ scope, records: [{ kind: "named-grant", key, value: JSON.parse(value) }] });
      return await codeOfAsync(() => home.permissions.named.get(key));
    };
    expect(await forge("copy", saved)).toBe("token.bad_signature");
    expect(await forge("wider", saved.replace('"calls":20', '"calls":90'))).toBe("token.bad_signature");
    expect(await forge("desktop", saved.replace('"calls":20', '"calls":90'))).toBe("token.bad_signature");
    expect(await forge("desktop", saved)).toBe("allow");
  });
});

describe("a revocation", () => {
  test("is on record with what it ends", async () => {
    await using home = await openTestHome({ clock: () => start });
    await home.permissions.revoke("t1", "lost");
    await home.permissions.revokeAll(principal);
    const rows = (await Array.fromAsync(home.store.audit())).map(({ entry }) => entry);
    expect(rows).toMatchObject([
      { at: start, action: "grant/revoke", name: "t1", grantId: "t1", decision: "allow" },
      { at: start, action: "grant/revoke-all", name: "org1/ann", decision: "allow" },
    ]);
  });
});

describe("taint by grant", () => {
  test("stays with the grant and all that is derived from it, in every process, and with no other", async () => {
    await using home = await openTestHome({ clock: () => start });
    await using other = await openTestHome({ clock: () => start, home: home.home });
    const child = derive(t1, sameAs(t1), { id: "child", now: start });
    expect(await home.permissions.taints.of(t1)).toEqual([]);
    await home.permissions.taints.add(t1, ["mcp:github"]);
    await home.permissions.taints.add(t1, []);
    await other.permissions.taints.add(t1, ["files", "mcp:github"]);
    expect(await home.permissions.taints.of(t1)).toEqual(["files", "mcp:github"]);
    expect(await other.permissions.taints.of(child)).toEqual(["files", "mcp:github"]);
    expect(await home.permissions.taints.of(t0)).toEqual([]);
  });

  test("that was added is read by the next who asks, in this process and in another", async () => {
    await using home = await openTestHome({ clock: () => start });
    await using other = await openTestHome({ clock: () => start, home: home.home });
    for (const [index, adder] of [home, other, home, other].entries()) {
      const labels = Array.from({ length: index + 1 }, (_, label) => `label-${label}`);
      const before = home.permissions.taints.of(t1);
      await adder.permissions.taints.add(t1, labels);
      expect(await before).toEqual(labels.slice(0, -1));
      expect(await Promise.all([1, 2].map(() => home.permissions.taints.of(t1)))).toEqual([labels, labels]);
    }
  });

  test("that came in under the meet of two grants has come in under each, and under no ancestor of theirs", async () => {
    await using home = await openTestHome({ clock: () => start });
    const flags = root({}, { id: "flags" });
    const desk = root({}, { id: "desk" });
    const met = meet(meet(flags, t1, { now: start }), desk, { now: start });
    await home.permissions.taints.add(met, ["files"]);
    for (const grant of [met, t1, desk, meet(root({}, { id: "other" }), t1, { now: start })]) {
      expect(await home.permissions.taints.of(grant), grant.id).toEqual(["files"]);
    }
    expect(await home.permissions.taints.of(t0)).toEqual([]);
  });

  test("loses no label when many come at the same time", async () => {
    await using home = await openTestHome({ clock: () => start });
    const labels = ["a", "b", "c", "d", "e", "f"];
    await Promise.all(labels.map((label) => home.permissions.taints.add(t1, [label])));
    expect(await home.permissions.taints.of(t1)).toEqual(labels);
  });
});

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/core/json.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import { meet } from "../../src/permissions/meet.ts";
import { artifactResources } from "../../src/tools/artifact-resources.ts";
import type { ArtifactLimits, ArtifactOwner, Artifacts, NewArtifact } from "../../src/tools/artifacts.ts";
import { openTestArtifacts } from "../support/artifacts.ts";
import { handClock } from "../support/clock.ts";
import { openTestDoor, sameAs, toGrant } from "../support/door.ts";

const limits: ArtifactLimits = { lifetimeMs: 1_000, count: 40, bytes: 1_000 };
const operator = toGrant([], 0, 0);
const bob = { org: "local", user: "bob" };
const here: ArtifactOwner = { scope: localScope, principal: localPrincipal, grant: operator };
const child = (parent: Grant): Grant => derive(parent, sameAs(parent), { id: `${parent.id}c${Math.random()}`, now: 1 });

const save = (artifacts: Artifacts, text: string, over: Partial<NewArtifact> = {}) =>
  artifacts.save({
    ...here,
    name: text,
    mimeType: "text/plain",
    bytes: Buffer.from(text),
    taint: [],
    callId: "c",
    ...over,
  });
const names = async (artifacts: Artifacts, owner = here): Promise<readonly string[]> =>
  (await artifacts.list(owner, { limit: 1_000 })).map(({ name }) => name);

describe("artifacts", () => {
  test("come back with their type and their labels, in another opening of the store too", async () => {
    await using opened = await openTestArtifacts();
    const saved = await save(opened.artifacts, "héllo", { taint: ["files", "mcp:mail"] });
    expect(saved).toEqual({
      id: saved.id,
      uri: `capstan://artifacts/${saved.id}`,
      name: "héllo",
      mimeType: "text/plain",
      bytes: 6,
    });
    expect(await opened.open().read(here, saved.id)).toEqual({
      ...saved,
      bytes: new Uint8Array(Buffer.from("héllo")),
      taint: ["files", "mcp:mail"],
    });
  });

  test("have ids that nobody guesses, other ones for the same bytes", async () => {
    await using opened = await openTestArtifacts();
    const saved = await Promise.all(Array.from({ length: 20 }, () => save(opened.artifacts, "same")));
    const ids = saved.map(({ id }) => id);
    expect(new Set(ids.map((id) => id.slice(-20))).size).toBe(20);
    expect(ids.every((id) => /^artifact_[0-9a-f]{32}$/.test(id))).toBe(true);
  });

  test("are listed in pages, the newest first", async () => {
    await using opened = await openTestArtifacts();
    const { artifacts } = opened;
    for (const text of ["a", "b", "c", "d", "e"]) {
      await save(artifacts, text);
      await sleep(2); // Ids tell milliseconds apart.
    }
    const first = await artifacts.list(here, { limit: 2 });
    expect(first.map(({ name }) => name)).toEqual(["e", "d"]);
    const after = first.at(-1)?.id ?? "";
    expect((await artifacts.list(here, { limit: 2, after })).map(({ name }) => name)).toEqual(["c", "b"]);
  });

  test("end after their time, and their bytes with the next one that is saved", async () => {
    const clock = handClock();
    await using opened = await openTestArtifacts({ clock, limits });
    const { artifacts, store } = opened;
    const { id } = await save(artifacts, "old");
    clock.advance(999);
    expect(await artifacts.read(here, id)).not.toBeNull();
    clock.advance(1);
    expect(await artifacts.read(here, id)).toBeNull();
    expect(await names(artifacts)).toEqual([]);
    expect(await store.blob(sha256("old"))).not.toBeNull();
    await save(artifacts, "new");
    expect(await store.blob(sha256("old"))).toBeNull();
    expect(await names(artifacts)).toEqual(["new"]);
  });

  test("that are expired go with the first save of an hour, whoever's they are, and with a sweep; the others stay", async () => {
    const clock = handClock();
    await using opened = await openTestArtifacts({ clock, limits: { ...limits, lifetimeMs: 2 * 3_600_000, count: 2 } });
    const { artifacts, store } = opened;
    const kept = async (text: string): Promise<boolean> => (await store.blob(sha256(text))) !== null;
    const theirs = { ...here, principal: bob };
    await save(artifacts, "bob's old one", theirs);
    await sleep(2); // Ids tell milliseconds apart.
    clock.advance(3_600_000);
    await save(artifacts, "bob's newer one", theirs);
    clock.advance(3_600_000);
    await save(artifacts, "mine");
    expect(await Promise.all(["bob's old one", "bob's newer one", "mine"].map(kept))).toEqual([false, true, true]);
    clock.advance(3_600_000 - 1);
    await opened.open().sweep(localScope);
    expect(await names(artifacts, theirs)).toEqual(["bob's newer one"]);
    clock.advance(1);
    await opened.open().sweep(localScope);
    expect(await kept("bob's newer one")).toBe(false);
    expect(await names(artifacts)).toEqual(["mine"]);
    const sums = (await store.records(localScope, "artifact-sums")).map(({ value }) => value);
    expect(sums).toEqual([
      { count: 0, bytes: 0 },
      { count: 1, bytes: 4 },
    ]);
  });

  test("make room for newer ones, oldest first, by count and by bytes, for each principal apart", async () => {
    const clock = handClock();
    await using opened = await openTestArtifacts({ clock, limits });
    const { artifacts, store } = opened;
    const theirs = { ...here, principal: bob };
    await save(artifacts, "shared", theirs);
    await save(artifacts, "shared");
    for (let n = 1; n <= 40; n += 1) {
      if (n === 1 || n > 37) await sleep(2); // Ids tell milliseconds apart.
      await save(artifacts, `n${n}`);
    }
    expect(await names(artifacts)).toHaveLength(40);
    expect(await names(artifacts)).not.toContain("shared");
    expect(await names(artifacts, theirs)).toEqual(["shared"]);
    // The bytes are bob's too.
    expect(await store.blob(sha256("shared"))).not.toBeNull();
    await save(artifacts, "x".repeat(990));
    expect((await names(artifacts)).map((name) => name.slice(0, 3)).toSorted()).toEqual(["n38", "n39", "n40", "xxx"]);
    await expect(save(artifacts, "x".repeat(1_001))).rejects.toMatchObject({ code: "tool.too_large" });
    expect(await names(artifacts)).toHaveLength(4);
  });

  test("stay within their limits when several openings save at once", async () => {
    await using opened = await openTestArtifacts({ clock: handClock(), limits });
    const openings = Array.from({ length: 4 }, () => opened.open());
    await Promise.all(
      openings.flatMap((artifacts, n) => Array.from({ length: 15 }, (_, m) => save(artifacts, `${n}-${m}`))),
    );
    expect(await names(opened.artifacts)).toHaveLength(40);
    const [sums] = await opened.store.records(localScope, "artifact-sums");
    const kept = await opened.artifacts.list(here, { limit: 100 });
    expect(sums?.value).toEqual({ count: 40, bytes: kept.reduce((sum, { bytes }) => sum + bytes, 0) });
  });
});

describe("who sees an artifact", () => {
  test("the grant that it was saved under and those above, and no grant beside or below", async () => {
    await using opened = await openTestArtifacts();
    const { artifacts } = opened;
    const [parent, other] = [child(operator), child(operator)];
    const own = child(parent);
    const { id } = await save(artifacts, "x", { grant: own });
    const sees = async (grant: Grant): Promise<boolean> => {
      const read = (await artifacts.read({ ...here, grant }, id)) !== null;
      expect((await names(artifacts, { ...here, grant })).includes("x")).toBe(read);
      return read;
    };
    expect(await Promise.all([own, parent, operator].map(sees))).toEqual([true, true, true]);
    expect(await Promise.all([child(own), child(parent), other].map(sees))).toEqual([false, false, false]);
    // The operator's grant of another process, and what a token comes to there.
    const restarted = toGrant([], 0, 0);
    expect(await sees(restarted)).toBe(true);
    expect(await sees(meet(restarted, own, { now: 1 }))).toBe(false);
  });

  test("B52: another principal gets nothing by URI, by hash or by list, as for what is not there", async () => {
    await using opened = await openTestArtifacts();
    const source = artifactResources(opened.artifacts);
    await using served = await openTestDoor([], undefined, { resources: [source] });
    const secret = await save(opened.artifacts, "A's secret");
    const grantOf = (user: string): Grant => {
      const principal = { org: "local", user };
      const made = toGrant([], served.permissions.now(), served.permissions.epoch(principal), { principal });
      return { ...made, rights: { ...made.rights, resources: [{ type: "any" }] } };
    };
    const request = (user: string) => ({
      caller: { principal: { org: "local", user }, scope: localScope, grant: grantOf(user), taint: [], depth: 0 },
      callId: `call_${Math.random()}`,
      signal: AbortSignal.timeout(110_000),
    });
    const answer = async (user: string, uri: string): Promise<string> => {
      try {
        const { outcome } = await served.door.readResource({ ...request(user), uri });
        return JSON.stringify(outcome);
      } catch (thrown) {
        return String(thrown).replaceAll(uri, "URI");
      }
    };
    const missing = await answer("bob", `capstan://artifacts/artifact_${"0".repeat(32)}`);
    expect(missing).toContain("There is no resource");
    const hash = sha256("A's secret");
    for (const uri of [
      secret.uri,
      `${secret.uri}/1`,
      `capstan://artifacts/${hash}`,
      `capstan://artifacts/local/operator/${secret.id}`,
      `capstan://artifacts/../operator/${secret.id}`,
    ]) {
      expect(await answer("bob", uri)).toBe(missing);
    }
    expect(await served.door.listResources(request("bob"))).toEqual([]);
    // The lawful neighbours: its owner reads it by URI, though not by hash; bob reads his own, even of equal bytes.
    expect(await answer("operator", secret.uri)).toContain("A's secret");
    expect(await answer("operator", `capstan://artifacts/${hash}`)).toBe(missing);
    expect(await served.door.listResources(request("operator"))).toMatchObject([{ uri: secret.uri }]);
    const same = await save(opened.artifacts, "A's secret", { principal: bob, grant: grantOf("bob") });
    expect(await answer("bob", same.uri)).toContain("A's secret");
    expect(await answer("operator", same.uri)).toBe(missing);
  });

  test("B52: another project gets nothing either", async () => {
    await using opened = await openTestArtifacts();
    const { id } = await save(opened.artifacts, "x");
    const elsewhere = { ...here, scope: { org: "local", project: "other" } };
    expect(await opened.artifacts.read(elsewhere, id)).toBeNull();
    expect(await names(opened.artifacts, elsewhere)).toEqual([]);
    expect(await opened.artifacts.read(here, id)).not.toBeNull();
  });
});

import { readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Scope } from "../../src/core/scope.ts";
import { localScope } from "../../src/core/scope.ts";
import type { Graphs } from "../../src/knowledge/graphs.ts";
import { openGraphs } from "../../src/knowledge/graphs.ts";
import { handClock } from "../support/clock.ts";
import { testWith } from "../support/machine.ts";
import { tempFolder } from "../support/temp.ts";
import { namesOf, toGraph } from "./open-graph.ts";

async function openFolder() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder());
  const path = join(folder.path, "knowledge");
  const graphs = stack.use(openGraphs({ folder: path, clock: handClock() }));
  const owned = stack.move();
  return { path, graphs, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const add = (graphs: Graphs, scope: Scope, name: string, value: string) =>
  graphs.write(scope, name, (knowledge) =>
    toGraph(knowledge).add({ facts: [{ subject: value, relation: "is", value: "here" }] }),
  );

const find = async (graphs: Graphs, scope: Scope, name: string, query: string) => {
  const searched = await graphs.read(scope, name, (knowledge) => toGraph(knowledge).search(query));
  return searched === null ? null : namesOf(searched);
};

describe("openGraphs()", () => {
  test("keeps graphs and scopes apart", async () => {
    await using opened = await openFolder();
    const { graphs } = opened;
    const others = [
      { org: "local", project: "other" },
      { org: "Local", project: "default" },
      { org: "local.default", project: "default" },
    ];
    await add(graphs, localScope, "default", "mine");
    for (const scope of others) await add(graphs, scope, "default", "theirs");
    await add(graphs, localScope, "second", "mine too");
    expect(await find(graphs, localScope, "default", "mine")).toEqual(["mine"]);
    expect(await find(graphs, localScope, "second", "mine too")).toEqual(["mine too"]);
    expect(await find(graphs, localScope, "default", "theirs")).toEqual([]);
    for (const scope of others) expect(await find(graphs, scope, "default", "mine")).toEqual([]);
  });

  test("makes nothing by reading, and files of one's own by writing", async () => {
    await using opened = await openFolder();
    const { graphs, path } = opened;
    expect(await find(graphs, localScope, "default", "mine")).toBeNull();
    await expect(readdir(path)).rejects.toMatchObject({ code: "ENOENT" });
    await add(graphs, localScope, "default", "mine");
    const file = join(path, "local", "default", "default.db");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, "local"))).mode & 0o777).toBe(0o700);
  });

  test("gives scopes whose names differ only in case files that differ in more", async () => {
    await using opened = await openFolder();
    await add(opened.graphs, { org: "Acme", project: "X" }, "default", "a");
    await add(opened.graphs, { org: "acme", project: "x" }, "default", "b");
    const folders = await readdir(opened.path);
    expect(new Set(folders.map((folder) => folder.toLowerCase())).size).toBe(2);
  });

  test.each(["", "../other", "UPPER", "a/b", "a".repeat(41), "naïve", ".", "con.db"])(
    "refuses a graph called %j",
    async (name) => {
      await using opened = await openFolder();
      await expect(add(opened.graphs, localScope, name, "x")).rejects.toMatchObject({ code: "knowledge.bad_query" });
      await expect(readdir(opened.path)).rejects.toMatchObject({ code: "ENOENT" });
    },
  );

  testWith("linux")("serves many graphs at once, and leaves few open", async () => {
    await using opened = await openFolder();
    const names = Array.from({ length: 12 }, (_, n) => `graph-${n}`);
    const adding = ["one", "two"].flatMap((value) => names.map((name) => add(opened.graphs, localScope, name, value)));
    await Promise.all(adding);
    const found = await Promise.all(names.map((name) => find(opened.graphs, localScope, name, "two")));
    expect(found).toEqual(names.map(() => ["two"]));
    const descriptors = await readdir("/proc/self/fd");
    const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
    const open = new Set(targets.filter((target) => target.startsWith(opened.path) && target.endsWith(".db")));
    expect(open.size).toBeGreaterThan(0);
    expect(open.size).toBeLessThanOrEqual(4);
  });

  test("refuses further calls once it is closed", async () => {
    await using opened = await openFolder();
    await add(opened.graphs, localScope, "default", "mine");
    await opened.graphs[Symbol.asyncDispose]();
    await expect(add(opened.graphs, localScope, "default", "late")).rejects.toMatchObject({
      code: "store.unavailable",
    });
    await expect(find(opened.graphs, localScope, "default", "mine")).rejects.toMatchObject({
      code: "store.unavailable",
    });
  });

  test("lets a call that is running come to its end when it is closed", async () => {
    await using opened = await openFolder();
    const started = Promise.withResolvers<void>();
    const mayGoOn = Promise.withResolvers<void>();
    const adding = opened.graphs.write(localScope, "default", async (knowledge) => {
      started.resolve();
      await mayGoOn.promise;
      return toGraph(knowledge).add({ facts: [{ subject: "mine", relation: "is", value: "here" }] });
    });
    await started.promise;
    const closing = opened.graphs[Symbol.asyncDispose]();
    mayGoOn.resolve();
    expect((await adding).added.added).toBe(1);
    await closing;
    await using again = openGraphs({ folder: opened.path, clock: handClock() });
    expect(await find(again, localScope, "default", "mine")).toEqual(["mine"]);
  });
});

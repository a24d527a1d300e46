import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Position } from "../../src/files/cursor.ts";
import { parseCursor, toCursor } from "../../src/files/cursor.ts";
import type { ListRequest } from "../../src/files/list-folder.ts";
import { listFolder } from "../../src/files/list-folder.ts";
import { openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { entriesOf } from "../../src/permissions/safe-path-read.ts";
import { slowCases } from "../support/cases.ts";
import { notLinux } from "../permissions/safe-path-support.ts";
import type { Tree } from "./tree.ts";
import { openTree } from "./tree.ts";

const whole: ListRequest = { depth: 1, limit: 200, sort: "name", order: "asc", after: null };
const name = ({ parts }: Position): string => parts.map(String).join("/");

async function list(tree: Tree, request: Partial<ListRequest> = {}, signal = AbortSignal.timeout(110_000)) {
  using root = openRoot(tree.root);
  using folder = openInside(root, [], { want: "folder", symlinks: "deny" });
  return await listFolder(folder, { ...whole, ...request }, signal);
}

/** All pages of a listing, each begun behind the last entry of the one before, by way of a cursor. */
async function listPages(tree: Tree, request: Partial<ListRequest>): Promise<readonly string[]> {
  const names: string[] = [];
  const listing = { folder: tree.root, sort: request.sort ?? "name", order: request.order ?? "asc" };
  let after: Position | null = null;
  for (;;) {
    const { found, more } = await list(tree, { ...request, after });
    names.push(...found.map(name));
    const last = found.at(-1);
    if (!more || last === undefined) return names;
    after = parseCursor(listing, toCursor(listing, last));
  }
}

/** The same listing by other means: everything at once, sorted by its definition. */
function listNaively(
  tree: Tree,
  { depth, sort, order }: Pick<ListRequest, "depth" | "sort" | "order">,
): readonly string[] {
  const paths = readdirSync(tree.root, { recursive: true, withFileTypes: true })
    .map((entry) => relative(tree.root, join(entry.parentPath, entry.name)))
    .filter((path) => path.split("/").length <= depth);
  const key = (path: string): bigint => {
    if (sort === "name") return 0n;
    const stat = statSync(join(tree.root, path), { bigint: true });
    return sort === "size" ? stat.size : stat.mtimeNs;
  };
  // A NUL sorts before every character of a name, so that a folder comes before its siblings' continuation.
  const bytes = (path: string): Buffer => Buffer.from(path.replaceAll("/", "\0"));
  const sorted = paths.toSorted((a, b) => Number(key(a) - key(b)) || Buffer.compare(bytes(a), bytes(b)));
  return order === "asc" ? sorted : sorted.toReversed();
}

describe("listFolder()", () => {
  test("lists a folder before what is in it, by bytes, to the depth that was asked for", async () => {
    await using tree = await openTree({ "b/x/y/z": "", "b.txt": "", B: "", a: "", é: "", empty: null });
    const names = async (depth: number) => (await list(tree, { depth })).found.map(name);
    expect(await names(1)).toEqual(["B", "a", "b", "b.txt", "empty", "é"]);
    expect(await names(2)).toEqual(["B", "a", "b", "b/x", "b.txt", "empty", "é"]);
    expect(await names(3)).toEqual(["B", "a", "b", "b/x", "b/x/y", "b.txt", "empty", "é"]);
  });

  test("sorts by size and by time, names deciding among equals", async () => {
    await using tree = await openTree({ one: "1", three: "333", two: "22", also: "22" });
    utimesSync(tree.at("three"), 1, 1);
    utimesSync(tree.at("one"), 2, 2.5);
    const names = async (sort: "size" | "modified", order: "asc" | "desc") =>
      (await list(tree, { sort, order })).found.map(name);
    expect(await names("size", "asc")).toEqual(["one", "also", "two", "three"]);
    expect(await names("size", "desc")).toEqual(["three", "two", "also", "one"]);
    expect((await names("modified", "asc")).slice(0, 2)).toEqual(["three", "one"]);
  });

  test("in pages of any size, gives what one listing of everything gives", async () => {
    const files = fc.uniqueArray(
      fc
        .array(fc.constantFrom("a", "a.", "b", "A", "é", "a-b", "0"), { minLength: 1, maxLength: 4 })
        .map((parts) => parts.join("/")),
      { maxLength: 25 },
    );
    const request = fc.record({
      depth: fc.integer({ min: 1, max: 3 }),
      limit: fc.integer({ min: 1, max: 7 }),
      sort: fc.constantFrom("name" as const, "size" as const, "modified" as const),
      order: fc.constantFrom("asc" as const, "desc" as const),
    });
    await fc.assert(
      fc.asyncProperty(files, request, async (paths, asked) => {
        await using tree = await openTree({});
        for (const [index, path] of paths.entries()) {
          const place = tree.at(path);
          try {
            mkdirSync(join(place, ".."), { recursive: true });
            writeFileSync(place, "x".repeat(index % 4));
            utimesSync(place, index % 3, index % 3);
          } catch {
            // The path goes through a file, or names a folder: the tree is as good without it.
          }
        }
        expect(await listPages(tree, asked)).toEqual(listNaively(tree, asked));
      }),
      { numRuns: slowCases * 2 },
    );
  });

  test("goes on behind the last name though that file is gone, and others came", async () => {
    await using tree = await openTree({ a: "", b: "", c: "", d: "" });
    const { found, more } = await list(tree, { limit: 2 });
    expect([found.map(name), more]).toEqual([["a", "b"], true]);
    rmSync(tree.at("b"));
    writeFileSync(tree.at("a2"), "");
    writeFileSync(tree.at("b2"), "");
    const next = await list(tree, { limit: 2, after: found.at(-1) ?? null });
    expect(next.found.map(name)).toEqual(["b2", "c"]);
  });

  test("cuts pages across subfolders, in either order", async () => {
    const layout = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`d${String(at).padStart(2, "0")}/f`, ""]));
    await using tree = await openTree(layout);
    const first = await list(tree, { depth: 2, limit: 4 });
    expect(first.found.map(name)).toEqual(["d00", "d00/f", "d01", "d01/f"]);
    const last = await list(tree, { depth: 2, limit: 4, order: "desc" });
    expect(last.found.map(name)).toEqual(["d29/f", "d29", "d28/f", "d28"]);
    expect(last.more).toBe(true);
  });

  test.skipIf(process.getuid?.() === 0)("tells which folders it could not look into", async () => {
    await using tree = await openTree({ "shut/f": "", "open/f": "" });
    execFileSync("chmod", ["000", tree.at("shut")]);
    const { found } = await list(tree, { depth: 2 });
    execFileSync("chmod", ["700", tree.at("shut")]);
    expect(found.map((entry) => [name(entry), entry.unlisted])).toEqual([
      ["open", undefined],
      ["open/f", undefined],
      ["shut", "files.no_access"],
    ]);
  });

  test.skipIf(notLinux)("tells times apart that are a nanosecond apart, beyond what a number holds", async () => {
    await using tree = await openTree({ a: "", b: "" });
    execFileSync("touch", ["-d", "@1700000000.000000002", tree.at("a")]);
    execFileSync("touch", ["-d", "@1700000000.000000001", tree.at("b")]);
    const { found } = await list(tree, { sort: "modified" });
    expect(found.map(name)).toEqual(["b", "a"]);
  });

  test("lets other work go on, and stops when it is told to", async () => {
    await using tree = await openTree({});
    const count = 5_000;
    for (let at = 0; at < count; at += 1) writeFileSync(tree.at(`f${at}`), "");
    let turns = 0;
    let isDone = false;
    const turn = (): void => {
      turns += 1;
      if (!isDone) setImmediate(turn);
    };
    setImmediate(turn);
    const { found, more } = await list(tree, { sort: "size" });
    isDone = true;
    expect([found.length, more]).toEqual([200, true]);
    expect(turns).toBeGreaterThan(count / 512);

    using root = openRoot(tree.root);
    using folder = openInside(root, [], { want: "folder", symlinks: "deny" });
    const stop = new AbortController();
    let seen = 0;
    const reading = async (): Promise<void> => {
      for await (const chunk of entriesOf(folder, stop.signal)) {
        seen += chunk.length;
        stop.abort(new Error("told to stop"));
      }
    };
    await expect(reading()).rejects.toThrow("told to stop");
    expect(seen).toBeLessThan(count / 2);
    await expect(list(tree, {}, stop.signal)).rejects.toThrow("told to stop");
  });
});

describe("parseCursor()", () => {
  const listing = { folder: "/srv/data", sort: "name", order: "asc" };
  const position = { key: 12n, parts: [Buffer.from("a"), Buffer.from("caf\xe9", "latin1")] };

  test("reads back the bytes and the key", () => {
    expect(parseCursor(listing, toCursor(listing, position))).toEqual(position);
    const key = -(2n ** 70n);
    expect(parseCursor(listing, toCursor(listing, { key, parts: [] }))).toEqual({ key, parts: [] });
  });

  test("refuses the cursor of another listing, and what is none", () => {
    const cursor = toCursor(listing, position);
    for (const other of [{ folder: "/srv" }, { sort: "size" }, { order: "desc" }]) {
      expect(() => parseCursor({ ...listing, ...other }, cursor)).toThrow(/Leave it out to begin again/);
    }
    for (const bad of ["", "x", cursor.slice(0, -4), Buffer.from('["a"]').toString("base64url"), "W10", "bnVsbA"]) {
      expect(() => parseCursor(listing, bad)).toThrow(/Leave it out to begin again/);
    }
  });
});

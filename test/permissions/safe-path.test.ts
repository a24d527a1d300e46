import { execFileSync } from "node:child_process";
import { linkSync, renameSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { leadsOutside, openEntry, openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { toNames } from "../../src/permissions/safe-path-text.ts";
import { openTree } from "../files/tree.ts";
import { methods, read, refusalOf } from "./safe-path-support.ts";

const any = { want: "any", symlinks: "deny" } as const;
const inside = { want: "file", symlinks: "inside" } as const;

describe.each(methods)("openInside() by $name", (method) => {
  test("opens files and folders below the root, and the root itself", async () => {
    await using tree = await openTree({ "a/b/c.txt": "deep", "..a..b": "odd but lawful" });
    using root = openRoot(tree.root, { method });
    expect(await read(root, "a/b/c.txt")).toBe("deep");
    expect(await read(root, "./a//b/./c.txt")).toBe("deep");
    expect(await read(root, "..a..b")).toBe("odd but lawful");
    using folder = openInside(root, "a", any);
    expect(folder).toMatchObject({ kind: "folder", path: tree.at("a") });
    using itself = openInside(root, [], any);
    expect(itself).toMatchObject({ kind: "folder", path: tree.root });
    using entry = openEntry(folder, Buffer.from("b"));
    expect(entry).toMatchObject({ kind: "folder", path: tree.at("a/b") });
  });

  test("says which of the expected things a place is not", async () => {
    await using tree = await openTree({ "sub/f": "x" });
    using root = openRoot(tree.root, { method });
    expect(refusalOf(root, "sub", { want: "file", symlinks: "deny" })).toMatch(
      /^files.bad_path: .* is a folder; a file/,
    );
    expect(refusalOf(root, "sub/f", { want: "folder", symlinks: "deny" })).toMatch(
      /^files.bad_path: .* is a file; a fold/,
    );
    expect(refusalOf(root, "sub/f/g", any)).toMatch(/^files.not_found: /);
    expect(refusalOf(root, "sub/none", any)).toMatch(/^files.not_found: /);
    expect(refusalOf(root, "a".repeat(300), any)).toMatch(/^files.bad_path: /);
    expect(refusalOf(root, "d/".repeat(300), any)).toMatch(/^files.not_found: /);
  });

  test("takes a link's target that ends in / or /. for a folder, as the system does", async () => {
    await using tree = await openTree({
      "b/f": "x",
      dotted: { link: "b/f/." },
      slashed: { link: "b/f/" },
      "folder-dotted": { link: "b/." },
      "folder-slashed": { link: "$IN/b/" },
      here: { link: "." },
    });
    using root = openRoot(tree.root, { method });
    for (const path of ["dotted", "slashed"]) expect(await read(root, path, inside)).toBe("files.not_found");
    for (const path of ["folder-dotted/f", "folder-slashed/f", "here/b/f"]) {
      expect(await read(root, path, inside)).toBe("x");
    }
  });

  test("follows links that stay inside, through the folders that they really pass", async () => {
    await using tree = await openTree({
      "lib/x.txt": "x",
      "src/up": { link: "../lib/x.txt" },
      "src/folder": { link: "../lib" },
      "src/absolute": { link: "$IN/lib/x.txt" },
      "src/chain": { link: "folder/x.txt" },
      // Taken as text, this would be src/x.txt; the system goes up from where the link really leads.
      "src/twist": { link: "folder/../lib/x.txt" },
    });
    using root = openRoot(tree.root, { method });
    for (const path of ["src/up", "src/folder/x.txt", "src/absolute", "src/chain", "src/twist"]) {
      expect([path, await read(root, path, inside)]).toEqual([path, "x"]);
      expect([path, await read(root, path)]).toEqual([path, "files.symlink"]);
    }
    using opened = openInside(root, "src/folder/x.txt", inside);
    expect(opened.path).toBe(tree.at("lib/x.txt"));
  });

  test("shows a link as itself where it is the last part, and follows none on the way", async () => {
    await using tree = await openTree({ out: { link: "$OUT" }, "in/f": "x", to: { link: "in" } });
    using root = openRoot(tree.root, { method });
    using link = openInside(root, "out", { want: "any", symlinks: "show" });
    expect(link).toMatchObject({ kind: "symlink", target: Buffer.from(tree.outside) });
    expect(refusalOf(root, "out/secret.txt", { want: "any", symlinks: "show" })).toMatch(/^files.symlink/);
    expect(refusalOf(root, "to/f", { want: "any", symlinks: "show" })).toMatch(/^files.symlink/);
    expect(leadsOutside(root, toNames(["out"]))).toBe(true);
    expect(leadsOutside(root, toNames(["to"]))).toBe(false);
  });

  test("ends at loops and at more links than 8", async () => {
    const chain = Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`l${at}`, { link: `l${at + 1}` }]));
    await using tree = await openTree({
      ...chain,
      l12: "end",
      loop: { link: "loop" },
      ping: { link: "pong/x" },
      pong: { link: "ping" },
    });
    using root = openRoot(tree.root, { method });
    expect(await read(root, "l4", inside)).toBe("end");
    expect(await read(root, "l3", inside)).toBe("files.symlink");
    expect(await read(root, "loop", inside)).toBe("files.symlink");
    expect(await read(root, "ping", inside)).toBe("files.symlink");
  });

  test("grants a file by its name: the file that replaced it is read, its neighbours are not", async () => {
    await using tree = await openTree({ "notes.txt": "old", "other.txt": "other", "new.txt": "new" });
    using root = openRoot(tree.at("notes.txt"), { method });
    using opened = openInside(root, [], any);
    expect(opened).toMatchObject({ kind: "file", path: tree.at("notes.txt") });
    expect(await read(root, ".")).toBe("old");
    expect(await read(root, "other.txt")).toBe("files.not_found");
    renameSync(tree.at("new.txt"), tree.at("notes.txt"));
    expect(await read(root, ".")).toBe("new");
  });

  test("never leaves a granted file that became a link, not even to its neighbour", async () => {
    await using tree = await openTree({ "was.txt": "was", "other.txt": "other", now: { link: "other.txt" } });
    using root = openRoot(tree.at("was.txt"), { method });
    renameSync(tree.at("now"), tree.at("was.txt"));
    expect(await read(root, ".", inside)).toBe("files.outside_root");
    expect(await read(root, ".")).toBe("files.symlink");
    expect(leadsOutside(root, [])).toBe(true);
    expect(() => openRoot(tree.at("was.txt"), { method })).toThrow(/is a symbolic link/);
  });

  test("reports hard links, whose other names can't be known", async () => {
    await using tree = await openTree({ "alone.txt": "x" });
    linkSync(join(tree.outside, "secret.txt"), tree.at("shared.txt"));
    using root = openRoot(tree.root, { method });
    using alone = openInside(root, "alone.txt", any);
    using shared = openInside(root, "shared.txt", any);
    expect([alone.stat.nlink, shared.stat.nlink]).toEqual([1n, 2n]);
  });

  test("refuses names that the system would read as more than one part, or as another", async () => {
    await using tree = await openTree({ "a/b": "x" });
    using root = openRoot(tree.at("a"), { method });
    for (const name of ["../outside", "..", ".", "", "b/", "b\0c", "/etc"]) {
      expect(() => openInside(root, [Buffer.from(name)], any)).toThrow(/out of the granted folder/);
    }
    using lawful = openInside(root, [Buffer.from("b")], any);
    expect(lawful.kind).toBe("file");
  });

  test.skipIf(process.getuid?.() === 0)("tells of what may not be read, and describes it all the same", async () => {
    await using tree = await openTree({ "shut.txt": "x" });
    execFileSync("chmod", ["000", tree.at("shut.txt")]);
    using root = openRoot(tree.root, { method });
    using opened = openInside(root, "shut.txt", any);
    expect(opened.stat.size).toBe(1n);
    expect(await read(root, "shut.txt")).toBe("files.no_access");
  });
});

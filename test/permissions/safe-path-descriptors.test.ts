import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openEntry, openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { openTree } from "../files/tree.ts";
import { notLinux, read } from "./safe-path-support.ts";

const any = { want: "any", symlinks: "deny" } as const;
const inside = { want: "file", symlinks: "inside" } as const;

describe.skipIf(notLinux)("descriptors", () => {
  test("keep what was opened through renames, replacements and removal", async () => {
    await using tree = await openTree({ "a/f": "first", "b/f": "second" });
    using root = openRoot(tree.root);
    using folder = openInside(root, "a", any);
    using kept = openInside(root, "a/f", any);
    renameSync(tree.at("a"), tree.at("gone"));
    renameSync(tree.at("b"), tree.at("a"));
    rmSync(tree.at("gone/f"));
    expect(kept.stat.size).toBe(5n);
    expect(await read(root, "a/f")).toBe("second");
    expect(() => openEntry(folder, Buffer.from("f"))).toThrow(/There is no/);
    mkdirSync(tree.at("gone/f"));
    using again = openEntry(folder, Buffer.from("f"));
    expect(again.kind).toBe("folder");
  });

  test("are all closed again, after successes and after refusals", async () => {
    await using tree = await openTree({ "a/b/f": "x", "a/out": { link: "$OUT" }, "a/up": { link: "../a/b/f" } });
    const count = (): number => readdirSync("/proc/self/fd").length;
    const before = count();
    for (let round = 0; round < 200; round += 1) {
      using root = openRoot(tree.root);
      expect(await read(root, "a/b/f")).toBe("x");
      expect(await read(root, "a/up", inside)).toBe("x");
      for (const path of ["a/out", "a/none", "a/b/f/g", "a", "../x"]) await read(root, path, inside);
      expect(() => openRoot(tree.at("none"))).toThrow(/There is no/);
    }
    expect(count()).toBe(before);
  });

  test("closes each descriptor once, however often a place is disposed", async () => {
    await using tree = await openTree({ f: "x" });
    using root = openRoot(tree.root);
    const opened = openInside(root, "f", any);
    opened[Symbol.dispose]();
    using other = openInside(root, "f", any);
    opened[Symbol.dispose]();
    writeFileSync(tree.at("f"), "longer");
    expect(readdirSync("/proc/self/fd")).toContain(String(other.place.at).split("/").at(-1));
  });
});

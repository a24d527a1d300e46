import { relative } from "node:path";
import { describe, expect, test } from "vitest";
import { locate, readNeeds } from "../../src/files/locate.ts";
import { resolveRoot } from "../../src/files/resolve-root.ts";
import { makePipe, openTree } from "./tree.ts";

describe("resolveRoot()", () => {
  test("gives the real path of a folder or file, links resolved", async () => {
    await using tree = await openTree({ "in/f": "x", link: { link: "in" } });
    expect(await resolveRoot(tree.root)).toBe(tree.root);
    expect(await resolveRoot(`${tree.root}/link/../in/`)).toBe(tree.at("in"));
    expect(await resolveRoot(tree.at("link"))).toBe(tree.at("in"));
    expect(await resolveRoot(tree.at("link/f"))).toBe(tree.at("in/f"));
    expect(await resolveRoot(relative(process.cwd(), tree.root))).toBe(tree.root);
  });

  test("refuses what can't be granted, and says why", async () => {
    await using tree = await openTree({ "back\\slash/f": "x", "%2e%2e/f": "x" });
    makePipe(tree.at("pipe"));
    await expect(resolveRoot(tree.at("none"))).rejects.toThrow(`There is no "${tree.at("none")}"`);
    await expect(resolveRoot(tree.at("pipe"))).rejects.toMatchObject({ code: "files.special_file" });
    await expect(resolveRoot(tree.at("back\\slash"))).rejects.toMatchObject({ code: "files.bad_path" });
    await expect(resolveRoot(tree.at("%2e%2e"))).rejects.toMatchObject({ code: "files.bad_path" });
    await expect(resolveRoot("/dev/null")).rejects.toMatchObject({ code: "files.special_file" });
  });
});

describe("locate()", () => {
  const text = (granted: readonly string[], path: string): string => {
    const { root, names } = locate(granted, path);
    return [root, ...names.map(String)].join(" ");
  };

  test("takes the outermost granted folder that the path is in", () => {
    expect(text(["/srv/data/deep", "/srv/data"], "/srv/data/deep/f")).toBe("/srv/data deep f");
    expect(text(["/srv/data/deep", "/other"], "/srv/data//deep/./f/")).toBe("/srv/data/deep f");
    expect(text(["/"], "/etc/passwd")).toBe("/ etc passwd");
    expect(text(["/srv/f.txt"], "/srv/f.txt")).toBe("/srv/f.txt");
  });

  test("takes a relative path from the only granted folder", () => {
    expect(text(["/srv/data"], "a/b")).toBe("/srv/data a b");
    expect(text(["/srv/data"], ".")).toBe("/srv/data");
    expect(() => locate(["/srv/data", "/srv/other"], "a/b")).toThrow(/several folders are granted: \/srv\/data, \/srv/);
    expect(() => locate([], "a/b")).toThrow(/--root DIR/);
  });

  test("refuses a path in no granted folder, whose name may begin like one", () => {
    for (const path of ["/srv/data-evil/f", "/srv", "/", "/srv/dat", "/SRV/data/f"]) {
      expect(() => locate(["/srv/data"], path)).toThrow(/is in no granted folder/);
    }
  });
});

describe("readNeeds()", () => {
  test("names each absolute path in its one spelling", () => {
    expect(readNeeds(["/a//b/./c/", "relative/f", "/"])).toEqual([
      { type: "read", path: "/a/b/c" },
      { type: "read", path: "/" },
    ]);
    expect(() => readNeeds(["/a/../b"])).toThrow(/can't be used as a path/);
    expect(() => readNeeds(["../b"])).toThrow(/can't be used as a path/);
  });
});

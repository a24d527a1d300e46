import { describe, expect, test } from "vitest";
import { openTree } from "../files/tree.ts";
import { openFiles } from "./fs-support.ts";

const layout = {
  ".capstan/key.json": "secret",
  ".capstan/cache/x": "",
  "notes/a.txt": "a",
  "notes/home": { link: "../.capstan" },
  "notes/key": { link: "$IN/.capstan/key.json" },
} as const;

describe("the home within a granted folder", () => {
  test("is answered like a place outside: itself, what is in it, and what is not", async () => {
    await using tree = await openTree(layout);
    await using files = await openFiles([tree.root], tree.at(".capstan"));
    const refusalOf = async (tool: "fs_list" | "fs_stat", path: string): Promise<string> => {
      const { code, text } = await files.ask(tool, tool === "fs_list" ? { path } : { paths: [path] });
      return `${code} ${text.replaceAll(path, "PATH")}`;
    };
    const home = await refusalOf("fs_stat", tree.at(".capstan"));
    expect(home).toContain("files.outside_root");
    for (const path of [".capstan/key.json", ".capstan/nothing", ".capstan/cache", ".capstan/cache/x"]) {
      expect(await refusalOf("fs_stat", tree.at(path)), path).toBe(home);
    }
    for (const path of [".capstan", ".capstan/cache", ".capstan/nothing"]) {
      expect(await refusalOf("fs_list", tree.at(path)), path).toBe(home);
    }
    expect((await files.ask("fs_stat", { paths: [tree.at("notes/a.txt")] })).isError).toBe(false);
  });

  test("is not entered by listing what is above it, and links to it lead out", async () => {
    await using tree = await openTree(layout);
    await using files = await openFiles([tree.root], tree.at(".capstan"));
    const { value } = await files.ask("fs_list", { path: tree.root, depth: 3, fields: [] });
    const text = JSON.stringify(value);
    expect(text).not.toMatch(/cache/);
    expect(value).toMatchObject({
      entries: [
        { path: ".capstan", unread: "files.outside_root" },
        { path: "notes" },
        { path: "notes/a.txt" },
        { path: "notes/home", escapes: true },
        { path: "notes/key", escapes: true },
      ],
    });
  });

  test("is not seen where it, or a folder in it, is what was granted", async () => {
    await using tree = await openTree(layout);
    for (const granted of [tree.at(".capstan"), tree.at(".capstan/cache")]) {
      await using files = await openFiles([granted], tree.at(".capstan"));
      expect(await files.ask("fs_list", { path: granted })).toMatchObject({ code: "files.outside_root" });
      expect((await files.ask("fs_list")).value).toMatchObject({
        entries: [{ path: granted, unread: "files.outside_root" }],
      });
    }
    await using lawful = await openFiles([tree.at(".capstan/cache")]);
    expect((await lawful.ask("fs_list", { path: tree.at(".capstan/cache") })).isError).toBe(false);
  });
});

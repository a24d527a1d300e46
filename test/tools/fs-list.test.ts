import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { openTree } from "../files/tree.ts";
import { notLinux } from "../permissions/safe-path-support.ts";
import { openFiles } from "./fs-support.ts";

const Page = z.object({
  folder: z.string().nullable(),
  entries: z.array(z.looseObject({ path: z.string(), kind: z.string().optional() })),
  truncated: z.boolean(),
  nextCursor: z.string().optional(),
});
const paths = (value: unknown): readonly string[] => Page.parse(value).entries.map(({ path }) => path);

describe("fs_list", () => {
  test("names the granted folders when no path is given, and says how to grant one when there is none", async () => {
    await using tree = await openTree({ "a/f": "", "f.txt": "" });
    await using files = await openFiles([tree.at("a"), tree.at("f.txt"), tree.at("gone")]);
    expect(await files.ask("fs_list")).toMatchObject({
      value: {
        folder: null,
        entries: [
          { path: tree.at("a"), kind: "folder" },
          { path: tree.at("f.txt"), kind: "file" },
          { path: tree.at("gone"), unread: "files.not_found" },
        ],
        truncated: false,
      },
      taint: [],
    });
    await using none = await openFiles([]);
    expect(await none.ask("fs_list")).toMatchObject({
      isError: false,
      value: { entries: [], note: expect.stringContaining("--root DIR") },
    });
  });

  test("lists a folder by absolute and relative path, with the fields that were chosen", async () => {
    await using tree = await openTree({ "src/a.ts": "four", "src/lib/b.ts": "" });
    await using files = await openFiles([tree.root]);
    const { value, taint } = await files.ask("fs_list", { path: "src", depth: 2, fields: ["size", "mode"] });
    expect(value).toEqual({
      folder: tree.at("src"),
      entries: [
        { path: "a.ts", kind: "file", size: 4, mode: "0644" },
        { path: "lib", kind: "folder", size: expect.any(Number), mode: "0755" },
        { path: "lib/b.ts", kind: "file", size: 0, mode: "0644" },
      ],
      truncated: false,
    });
    expect(taint).toEqual(["files"]);
    const absolute = await files.ask("fs_list", { path: `${tree.at("src")}/`, depth: 2, fields: ["size", "mode"] });
    expect(absolute.value).toEqual(value);
    const usual = Page.parse((await files.ask("fs_list", { path: "src/lib" })).value).entries[0];
    expect(Object.keys(usual ?? {})).toEqual(["path", "kind", "size", "modifiedAt"]);
  });

  test("lists links as links, with their target and whether it escapes, and follows none", async () => {
    await using tree = await openTree({
      "in/f": "",
      stays: { link: "in" },
      leaves: { link: "$OUT" },
      "leaves-too": { link: "leaves" },
      missing: { link: "$OUT/none" },
      dangling: { link: "none" },
    });
    await using files = await openFiles([tree.root]);
    const { value } = await files.ask("fs_list", { path: tree.root, depth: 3, fields: [] });
    expect(Page.parse(value).entries).toEqual([
      { path: "dangling", kind: "symlink", target: "none", escapes: false },
      { path: "in", kind: "folder" },
      { path: "in/f", kind: "file" },
      { path: "leaves", kind: "symlink", target: tree.outside, escapes: true },
      { path: "leaves-too", kind: "symlink", target: "leaves", escapes: true },
      { path: "missing", kind: "symlink", target: `${tree.outside}/none`, escapes: true },
      { path: "stays", kind: "symlink", target: "in", escapes: false },
    ]);
    expect(await files.ask("fs_list", { path: "leaves" })).toMatchObject({
      isError: true,
      code: "files.symlink",
      taint: ["files"],
      text: expect.stringContaining("Links are not followed"),
    });
  });

  test("goes on with the cursor, to the end, though files come and go", async () => {
    await using tree = await openTree(Object.fromEntries(Array.from({ length: 25 }, (_, at) => [`f${at + 10}`, ""])));
    await using files = await openFiles([tree.root]);
    const first = Page.parse((await files.ask("fs_list", { path: ".", limit: 10 })).value);
    expect([first.entries.length, first.truncated]).toEqual([10, true]);
    rmSync(tree.at("f19"));
    writeFileSync(tree.at("f195"), "");
    const second = Page.parse((await files.ask("fs_list", { path: ".", limit: 10, cursor: first.nextCursor })).value);
    expect(second.entries.map(({ path }) => path).slice(0, 2)).toEqual(["f195", "f20"]);
    const last = Page.parse((await files.ask("fs_list", { path: ".", limit: 10, cursor: second.nextCursor })).value);
    expect([last.entries.length, last.truncated, last.nextCursor]).toEqual([6, false, undefined]);
    const other = await files.ask("fs_list", { path: ".", sort: "size", cursor: first.nextCursor });
    expect(other).toMatchObject({ isError: true, code: "tool.bad_arguments" });
  });

  test("keeps an answer far below what a transport bears, and loses nothing over it", async () => {
    const deep = Array.from({ length: 14 }, () => "d".repeat(250)).join("/");
    await using tree = await openTree({});
    mkdirSync(tree.at("big"));
    for (let at = 0; at < 150; at += 1) symlinkSync(`${deep}/${at}`, tree.at(`big/${"l".repeat(200)}${at + 100}`));
    await using files = await openFiles([tree.root]);
    const seen: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const { value } = await files.ask("fs_list", { path: "big", ...(cursor === undefined ? {} : { cursor }) });
      expect(JSON.stringify(value).length).toBeLessThan(300 * 1024);
      seen.push(...paths(value));
      cursor = Page.parse(value).nextCursor;
      pages += 1;
    } while (cursor !== undefined);
    expect(pages).toBeGreaterThan(1);
    expect(new Set(seen).size).toBe(150);
    expect(seen.length).toBe(150);
  });

  test("refuses at the door what is in no granted folder, without looking there", async () => {
    await using tree = await openTree({ "src/f": "", "secret/f": "" });
    await using files = await openFiles([tree.at("src")]);
    const there = await files.ask("fs_list", { path: tree.at("secret") });
    const missing = await files.ask("fs_list", { path: tree.at("secreT") });
    expect(there).toMatchObject({ isError: true, code: "permission.argument_refused" });
    expect(there.text.replaceAll("secret", "secreT")).toBe(missing.text);
    for (const path of ["/", "/etc", `${tree.root}/src-evil`, "/proc/self"]) {
      expect(await files.ask("fs_list", { path })).toMatchObject({ code: "permission.argument_refused" });
    }
    for (const path of ["..", `${tree.at("src")}/../secret`, "a\0b", "a\\b", "%2e%2e/secret"]) {
      expect(await files.ask("fs_list", { path })).toMatchObject({ code: "files.bad_path" });
    }
    expect(await files.ask("fs_list", { path: "." })).toMatchObject({ isError: false });
    expect(files.faults).toEqual([]);
  });

  test("says what it can't list", async () => {
    await using tree = await openTree({ f: "" });
    await using files = await openFiles([tree.root]);
    expect(await files.ask("fs_list", { path: "f" })).toMatchObject({ code: "files.bad_path", isError: true });
    expect(await files.ask("fs_list", { path: "none" })).toMatchObject({ code: "files.not_found", isError: true });
    for (const args of [
      { depth: 4 },
      { limit: 201 },
      { limit: 0 },
      { fields: ["content"] },
      { follow: true },
      { path: "" },
    ]) {
      expect(await files.ask("fs_list", { path: ".", ...args })).toMatchObject({ code: "tool.bad_arguments" });
    }
  });

  test("runs under a grant that constrains the path alone", async () => {
    await using tree = await openTree({ "src/f": "", "other/f": "" });
    await using files = await openFiles([tree.root]);
    const rule = { name: "path", rule: { type: "path" as const, under: tree.at("src") }, optional: false };
    const tools = files.grant.rights.tools.map((right) => ({ ...right, args: [rule] }));
    const narrow = { ...files.grant, rights: { ...files.grant.rights, tools } };
    expect(await files.ask("fs_list", { path: tree.at("src") }, narrow)).toMatchObject({ isError: false });
    for (const args of [{ path: tree.at("other") }, { path: "other" }, {}]) {
      expect(await files.ask("fs_list", args, narrow)).toMatchObject({ code: "permission.argument_refused" });
    }
  });

  test.skipIf(notLinux)("shows names that are not UTF-8 escaped, and what is no file by its kind", async () => {
    await using tree = await openTree({ "back\\slash": "" });
    execFileSync("sh", ["-c", 'cd "$1" && : > "$(printf "caf\\351")" && mkfifo pipe', "sh", tree.root]);
    await using files = await openFiles([tree.root]);
    const { value } = await files.ask("fs_list", { path: ".", fields: [] });
    expect(Page.parse(value).entries).toEqual([
      { path: "back\\slash", kind: "file", inexact: true },
      { path: "caf\\xe9", kind: "file", inexact: true },
      { path: "pipe", kind: "fifo" },
    ]);
  });
});

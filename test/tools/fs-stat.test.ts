import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { linkSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { makePipe, openTree } from "../files/tree.ts";
import { openFiles } from "./fs-support.ts";

const Items = z.object({ items: z.array(z.looseObject({ path: z.string() })) });
const items = (value: unknown) => Items.parse(value).items;
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

describe("fs_stat", () => {
  test("tells of files and folders what the disk tells, and the type by their bytes", async () => {
    await using tree = await openTree({
      "a/photo.txt": Buffer.from("\x89PNG\r\n\x1a\n\0", "latin1"),
      "a/notes.md": "# x",
    });
    execFileSync("touch", ["-t", "202601020304.05", tree.at("a/notes.md")], { env: { ...process.env, TZ: "UTC" } });
    execFileSync("chmod", ["640", tree.at("a/notes.md")]);
    await using files = await openFiles([tree.root]);
    const asked = [tree.at("a/photo.txt"), "a//notes.md", "a/"];
    const { value, taint } = await files.ask("fs_stat", { paths: asked, sha256: true });
    expect(items(value)).toEqual([
      expect.objectContaining({
        path: tree.at("a/photo.txt"),
        kind: "file",
        size: 9,
        mediaType: "image/png",
        links: 1,
      }),
      expect.objectContaining({
        path: tree.at("a/notes.md"),
        mediaType: "text/plain",
        mode: "0640",
        uid: process.getuid?.(),
        modifiedAt: "2026-01-02T03:04:05.000Z",
        sha256: sha256("# x"),
      }),
      expect.objectContaining({ path: tree.at("a"), kind: "folder" }),
    ]);
    expect(taint).toEqual(["files"]);
    const unhashed = items((await files.ask("fs_stat", { paths: asked })).value);
    expect(unhashed.some((item) => "sha256" in item)).toBe(false);
  });

  test("describes the granted folders when no paths are given, and says how to grant one when there is none", async () => {
    await using tree = await openTree({ "f.txt": "x" });
    await using files = await openFiles([tree.root, tree.at("f.txt")]);
    expect((await files.ask("fs_stat")).value).toMatchObject({
      items: [
        { path: tree.root, kind: "folder" },
        { path: tree.at("f.txt"), kind: "file", mediaType: "text/plain" },
      ],
    });
    await using none = await openFiles([]);
    expect(await none.ask("fs_stat")).toMatchObject({
      isError: false,
      value: { items: [], note: expect.stringContaining("--root DIR") },
    });
  });

  test("B1: describes a link, never what is behind it", async () => {
    await using tree = await openTree({
      link: { link: "$OUT/secret.txt" },
      folder: { link: "$OUT" },
      lawful: "inside",
    });
    await using files = await openFiles([tree.root]);
    const paths = ["link", "folder/secret.txt", "folder/none.txt", "lawful"];
    const [link, below, missing, lawful] = items((await files.ask("fs_stat", { paths, sha256: true })).value);
    expect(link).toMatchObject({ kind: "symlink", target: join(tree.outside, "secret.txt"), escapes: true });
    expect(link).not.toHaveProperty("sha256");
    expect(below).toMatchObject({ error: { code: "files.symlink" } });
    expect(JSON.stringify(below).replaceAll("secret", "none")).toBe(JSON.stringify(missing));
    expect(lawful).toMatchObject({ sha256: sha256("inside") });
  });

  test("B4: refuses pipes, sockets and devices one by one, and goes on", async () => {
    await using tree = await openTree({ lawful: "x" });
    makePipe(tree.at("pipe"));
    await using files = await openFiles([tree.root, "/dev", "/proc"]);
    const paths = [tree.at("pipe"), "/dev/null", "/proc/self/environ", tree.at("lawful")];
    const { value, isError } = await files.ask("fs_stat", { paths, sha256: true });
    const special = { error: { code: "files.special_file" } };
    expect(items(value)).toMatchObject([special, special, special, { kind: "file", sha256: sha256("x") }]);
    expect(isError).toBe(false);
  });

  test("refuses the whole call at the door when one of its paths is not granted", async () => {
    await using tree = await openTree({ "src/f": "x", "secret/f": "x" });
    await using files = await openFiles([tree.at("src")]);
    const mixed = await files.ask("fs_stat", { paths: [tree.at("src/f"), "/etc/passwd"] });
    expect(mixed).toMatchObject({ code: "permission.argument_refused", value: undefined });
    expect(mixed.text).toContain("--root");
    expect(await files.ask("fs_stat", { paths: ["../secret/f"] })).toMatchObject({ code: "files.bad_path" });
    expect(await files.ask("fs_stat", { paths: [tree.at("src/f")] })).toMatchObject({ isError: false });
    const rows = await files.audit();
    expect(rows.map(({ entry }) => entry.decision)).toEqual(["deny", "deny", "allow"]);
  });

  test("fails with the first reason when nothing could be described", async () => {
    await using tree = await openTree({ f: "x" });
    await using files = await openFiles([tree.root]);
    expect(await files.ask("fs_stat", { paths: ["none", "f/g"] })).toMatchObject({
      isError: true,
      code: "files.not_found",
      text: expect.stringMatching(/^files.not_found: There is no /),
    });
    expect(await files.ask("fs_stat", { paths: ["none", "f"] })).toMatchObject({ isError: false });
    for (const args of [
      { paths: [] },
      { paths: Array.from({ length: 101 }, () => "f") },
      { path: "f" },
      { paths: "f" },
    ]) {
      expect(await files.ask("fs_stat", args)).toMatchObject({ code: "tool.bad_arguments" });
    }
  });

  test("reports hard links", async () => {
    await using tree = await openTree({});
    linkSync(join(tree.outside, "secret.txt"), tree.at("shared"));
    await using files = await openFiles([tree.root]);
    expect(items((await files.ask("fs_stat", { paths: ["shared"] })).value)).toMatchObject([{ links: 2 }]);
  });

  test("hashes no more than its budget, and still tells the rest", async () => {
    await using tree = await openTree({ huge: "x", small: "x" });
    truncateSync(tree.at("huge"), 2 ** 30 + 1);
    await using files = await openFiles([tree.root]);
    const [huge, small] = items((await files.ask("fs_stat", { paths: ["huge", "small"], sha256: true })).value);
    expect(huge).toMatchObject({ size: 2 ** 30 + 1, contentError: { code: "files.too_large" } });
    expect(huge).toHaveProperty("mediaType");
    expect(huge).not.toHaveProperty("sha256");
    expect(small).toMatchObject({ sha256: sha256("x") });
  });

  test.skipIf(process.getuid?.() === 0)("describes a file whose content it may not read", async () => {
    await using tree = await openTree({ shut: "x" });
    execFileSync("chmod", ["000", tree.at("shut")]);
    await using files = await openFiles([tree.root]);
    const [shut] = items((await files.ask("fs_stat", { paths: ["shut"] })).value);
    expect(shut).toMatchObject({ size: 1, mode: "0000", contentError: { code: "files.no_access" } });
  });
});

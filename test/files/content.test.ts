import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readContent } from "../../src/files/content.ts";
import { openInside, openRoot } from "../../src/permissions/safe-path.ts";
import { tempFolder } from "../support/temp.ts";

const length = 3 * 1024 * 1024;

/** Reads a file of one letter, of which `change` gives the next whenever a part of it is about to be read. */
async function readWhile(change: (part: number) => string | undefined): Promise<string> {
  await using folder = await tempFolder();
  const path = join(folder.path, "table");
  let part = 0;
  const write = (letter: string): void => {
    writeFileSync(path, letter.repeat(length));
    utimesSync(path, 1_000_000 + part, 1_000_000 + part);
  };
  write("a");
  const { signal } = new AbortController();
  signal.throwIfAborted = () => {
    const letter = change((part += 1));
    if (letter !== undefined) write(letter);
  };
  using root = openRoot(folder.path, {});
  using file = openInside(root, [Buffer.from("table")], { want: "file", symlinks: "deny" });
  return Buffer.from(await readContent(file, length, signal)).toString();
}

test("a file that changes while it is read is read again, so that no parts of two are taken for one", async () => {
  expect(new Set(await readWhile(() => undefined))).toEqual(new Set("a"));
  expect(new Set(await readWhile((part) => (part === 2 ? "b" : undefined)))).toEqual(new Set("b"));
});

test("a file that never stands still is refused", async () => {
  await expect(readWhile((part) => (part % 2 === 0 ? "a" : "b"))).rejects.toMatchObject({ code: "files.changed" });
});

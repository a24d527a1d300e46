import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeWhole } from "../../src/sandbox/make-whole.ts";
import { tempFolder } from "../support/temp.ts";

const name = `kind-${"0".repeat(32)}`;

test("what can't be made whole leaves nothing behind, and is made by who tries next, once", async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, name);
  const failing = makeWhole(path, async (draft) => {
    await mkdir(draft);
    await writeFile(join(draft, "part"), "");
    throw new Error("The disk is full.");
  });
  await expect(failing).rejects.toThrow("The disk is full.");
  expect(readdirSync(folder.path)).toEqual([]);
  await makeWhole(path, (draft) => writeFile(draft, "whole"));
  await makeWhole(path, () => Promise.reject(new Error("It is there.")));
  expect(readdirSync(folder.path)).toEqual([name]);
  expect(readFileSync(path, "utf8")).toBe("whole");
});

test("what another process made meanwhile is as good", async () => {
  await using folder = await tempFolder();
  const path = join(folder.path, name);
  await makeWhole(path, async (draft) => {
    await mkdir(draft);
    writeFileSync(path, "of another");
  });
  expect(readdirSync(folder.path)).toEqual([name]);
  expect(readFileSync(path, "utf8")).toBe("of another");
});

import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { replaceFile } from "../../src/cli/replace-file.ts";
import { tempFolder } from "../support/temp.ts";

describe("replaceFile()", () => {
  test("leaves what somebody else wrote meanwhile, and nothing beside it", async () => {
    await using folder = await tempFolder();
    const path = join(folder.path, "config");
    await writeFile(path, "theirs");
    for (const before of ["", "ours"]) {
      await expect(replaceFile(path, before, "new")).rejects.toMatchObject({ code: "files.changed" });
      expect(await readFile(path, "utf8")).toBe("theirs");
    }
    await replaceFile(path, "theirs", "new");
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder.path)).toEqual(["config"]);
  });
});

import { chmodSync, existsSync, globSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { capstan as start } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

/** Without the compiled code that other tests share. */
const capstan = (home: string, args: readonly string[]) => start(home, args, { env: { NODE_COMPILE_CACHE: "" } });

const kept = (home: string): readonly string[] => globSync(join(home, "cache/compiled/*/*"));

describe("compiled code", () => {
  test("is kept in a home that was used before, for its owner alone", async () => {
    await using folder = await tempFolder();
    const home = join(folder.path, "home");
    await capstan(home, ["tools", "ls"]);
    expect(kept(home)).toEqual([]);
    await capstan(home, ["tools", "ls"]);
    expect(kept(home).length).toBeGreaterThan(100);
    expect((await capstan(home, ["tools", "ls"])).code).toBe(0);
  });

  test.skipIf(process.getuid === undefined)(
    "is neither kept in nor taken from a home that others can write",
    async () => {
      await using folder = await tempFolder();
      const home = join(folder.path, "home");
      await capstan(home, ["tools", "ls"]);
      chmodSync(home, 0o777);
      const { code, stderr } = await capstan(home, ["tools", "ls"]);
      expect({ code, unsafe: stderr.includes("config.unsafe_home") }).toEqual({ code: 3, unsafe: true });
      expect(kept(home)).toEqual([]);
    },
  );

  test("is not put into a folder that is no home", async () => {
    await using folder = await tempFolder();
    await capstan(folder.path, ["completion", "bash"]);
    expect(existsSync(join(folder.path, "cache"))).toBe(false);
  });
});

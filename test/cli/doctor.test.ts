import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { bin, capstan } from "../support/capstan.ts";
import { testWith } from "../support/machine.ts";
import { tempHomeWithPython } from "../support/python.ts";

describe("capstan doctor", () => {
  test("tries the home and each engine, and ends with exit code 0 where they work", async () => {
    await using home = await tempHomeWithPython();
    const { code, stdout } = await capstan(home.path, ["doctor"]);
    expect(stdout).toContain(`ok       home: ${home.path}\n`);
    expect(stdout).toMatch(/^ok {7}quickjs: javascript/m);
    expect(stdout).toMatch(/^ok {7}pyodide: python/m);
    expect(code).toBe(0);
  }, 120_000);

  test.each([
    ["its store is damaged", "state.db", "store.corrupt", "state.db"],
    ["its config is wrong", "capstan.yaml", "config.bad_value", "capstan.yaml"],
    ["its keys are damaged", "key.json", "config.", "key.json"],
  ])("says it as one of its lines where %s, with exit code 1", async (_, file, code, said) => {
    await using home = await tempHomeWithPython();
    writeFileSync(join(home.path, file), "something else, and more of it than a header", { mode: 0o600 });
    const ended = await capstan(home.path, ["doctor"]);
    expect(ended).toMatchObject({ code: 1, stderr: "" });
    expect(ended.stdout).toMatch(new RegExp(`^missing  home: ${code}.*${join(home.path, said)}`, "m"));
    expect(ended.stdout).toMatch(/^ok {7}node: /m);
    const json = JSON.parse((await capstan(home.path, ["doctor", "--json"])).stdout);
    expect(json).toContainEqual({ name: "home", ok: false, detail: expect.stringContaining(said) });
  });

  test("does not take a bad token for a broken home", async () => {
    await using home = await tempHomeWithPython();
    expect(await capstan(home.path, ["--grant", "", "doctor"])).toMatchObject({ code: 3, stdout: "" });
  });

  testWith("bubblewrap")("names a home that can't be written", async () => {
    await using home = await tempHomeWithPython();
    await capstan(home.path, ["tools", "ls"]);
    const readOnly = ["--dev-bind", "/", "/", "--ro-bind", home.path, home.path];
    const command = [process.execPath, bin, "--home", home.path, "doctor"];
    const ended = promisify(execFile)("bwrap", [...readOnly, "--", ...command]);
    await expect(ended).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringMatching(
        new RegExp(`^missing  home: config\\.unsafe_home: The home ${home.path} can't`, "m"),
      ),
    });
  });
});

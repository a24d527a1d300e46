import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { Config, loadConfig, parseConfig } from "../src/config.ts";
import { CapstanError } from "../src/core/error.ts";
import { tempFolder } from "./support/temp.ts";

const example = readFileSync(join(import.meta.dirname, "../capstan.example.yaml"), "utf8");

async function refusal(text: string): Promise<CapstanError> {
  try {
    await parseConfig(text, "capstan.yaml");
  } catch (error) {
    if (error instanceof CapstanError) return error;
    throw error;
  }
  throw new Error("was accepted");
}

/** Every key of a value as a dotted path, objects only. */
function paths(value: unknown, at = ""): readonly string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [at];
  const entries = Object.entries(value);
  return entries.length === 0 ? [at] : entries.flatMap(([key, item]) => paths(item, at === "" ? key : `${at}.${key}`));
}

describe("config", () => {
  test("the example file holds every default, and nothing else", async () => {
    expect(await parseConfig(example, "capstan.example.yaml")).toEqual(Config.parse({}));
    const shown = new Set(paths(parse(example)));
    for (const path of paths(Config.parse({}))) {
      expect(shown.has(path), `${path} stands in the example`).toBe(true);
    }
  });

  test("a wrong key names the nearest right one", async () => {
    expect(await refusal("sandbox:\n  timeoutMS: 5\n")).toMatchObject({
      code: "config.unknown_key",
      message: expect.stringContaining('did you mean "timeoutMs"?'),
    });
    expect((await refusal("sandbx: {}\n")).message).toContain('did you mean "sandbox"?');
    expect((await refusal("zzzzzz: 1\n")).message).toContain("known here: permissions, sandbox, host");
  });

  test.each([
    [
      "sandbox:\n  timeoutMs: soon\n",
      "config.bad_value",
      'sandbox.timeoutMs: expected a whole number from 1 to 600000, got "soon".',
    ],
    ["sandbox:\n  timeoutMs: -1\n", "config.bad_value", "sandbox.timeoutMs"],
    ["sandbox: [1]\n", "config.bad_value", "sandbox"],
    ["just text\n", "config.bad_value", "the file"],
    ["a: 1\n b: : 2\n", "config.malformed", "line"],
    ["sandbox: {}\nsandbox: {}\n", "config.malformed", "line 2"],
  ])("%j is refused with %s", async (text, code, said) => {
    const error = await refusal(text);
    expect(error.code).toBe(code);
    expect(error.message).toContain(said);
  });

  test("an empty file, and no file in the home, mean the defaults", async () => {
    await using home = await tempFolder();
    expect(await parseConfig("", "x")).toEqual(Config.parse({}));
    expect(await loadConfig(home.path, undefined)).toEqual(Config.parse({}));
  });

  test("a file that was named must exist, and one that exists is used", async () => {
    await using home = await tempFolder();
    const file = join(home.path, "other.yaml");
    await expect(loadConfig(home.path, file)).rejects.toMatchObject({ code: "config.missing" });
    writeFileSync(file, "sandbox:\n  timeoutMs: 5\n");
    expect((await loadConfig(home.path, file)).sandbox.timeoutMs).toBe(5);
  });

  test("a file that everybody may write is refused", async () => {
    await using home = await tempFolder();
    const file = join(home.path, "capstan.yaml");
    writeFileSync(file, "sandbox:\n  timeoutMs: 5\n");
    expect((await loadConfig(home.path, undefined)).sandbox.timeoutMs).toBe(5);
    chmodSync(file, 0o666);
    for (const named of [undefined, file]) {
      await expect(loadConfig(home.path, named)).rejects.toMatchObject({ code: "config.unsafe_home" });
    }
  });
});

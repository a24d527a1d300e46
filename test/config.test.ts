import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { Config, loadConfig, parseConfig } from "../src/config.ts";
import { CapstanError } from "../src/core/error.ts";
import { isJsonObject } from "../src/core/json.ts";
import { McpConfig } from "../src/host/mcp/config.ts";
import { ServerSettings } from "../src/server/config.ts";
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

/** What the example says of MCP, with its commented entries put in place. */
function withEntries(): string {
  return example
    .slice(example.indexOf("\nmcp:"))
    .replaceAll(/^ {2}(servers|prompts): \{\}$/gm, "  $1:")
    .replaceAll(/^ {2}# {3}/gm, "    ")
    .replace("  # publicUrl:", "  publicUrl:");
}

/** The name of every key that a schema knows, in whichever of its forms; those of records are the user's own. */
function keysOf(schema: unknown): readonly string[] {
  if (Array.isArray(schema)) return schema.flatMap(keysOf);
  if (!isJsonObject(schema)) return [];
  const { properties } = schema;
  return [...(isJsonObject(properties) ? Object.keys(properties) : []), ...Object.values(schema).flatMap(keysOf)];
}

describe("config", () => {
  test("the example file holds every default, and nothing else", async () => {
    expect(await parseConfig(example, "capstan.example.yaml")).toEqual(Config.parse({}));
    const shown = new Set(paths(parse(example)));
    for (const path of paths(Config.parse({}))) {
      expect(shown.has(path), `${path} stands in the example`).toBe(true);
    }
  });

  test("the entries that the example shows of servers and prompts are good, and show every key", async () => {
    const shown = withEntries();
    const { mcp, server } = await parseConfig(shown, "capstan.example.yaml");
    expect(Object.keys(mcp.servers)).toEqual(["files", "tracker"]);
    expect(mcp.servers["files"]).toEqual(
      expect.objectContaining({ enabled: true, timeoutMs: 60_000, totalTimeoutMs: 600_000, startTimeoutMs: 10_000 }),
    );
    expect(Object.keys(server.prompts["review"]?.arguments ?? {})).toEqual(["file", "focus"]);
    const keys = [McpConfig, ServerSettings].flatMap((part) => keysOf(z.toJSONSchema(part, { io: "input" })));
    expect(keys).toContain("clientSecretEnv");
    for (const key of keys) expect(shown, key).toMatch(new RegExp(`\\b${key}:`));
  });

  test("a wrong key names the nearest right one", async () => {
    expect(await refusal("sandbox:\n  timeoutMS: 5\n")).toMatchObject({
      code: "config.unknown_key",
      message: expect.stringContaining('did you mean "timeoutMs"?'),
    });
    expect((await refusal("sandbx: {}\n")).message).toContain('did you mean "sandbox"?');
    expect((await refusal("zzzzzz: 1\n")).message).toContain("known here: permissions, sandbox, tools, host");
  });

  test.each([
    [
      "sandbox:\n  timeoutMs: soon\n",
      "config.bad_value",
      'sandbox.timeoutMs: expected a whole number from 1 to 600000, got "soon".',
    ],
    ["sandbox:\n  timeoutMs: -1\n", "config.bad_value", "sandbox.timeoutMs"],
    ["sandbox: [1]\n", "config.bad_value", "sandbox"],
    ["tools: { artifacts: { megabytes: 95 } }\n", "config.bad_value", "from 96 to 65536"],
    ["tools: { artifacts: { count: 1 } }\n", "config.bad_value", "from 128 to 100000"],
    ["mcp: { servers: { a: { command: x, timeoutMs: 99999999999 } } }\n", "config.bad_value", "to 2000000000"],
    ["host: { limits: { timeMs: 99999999999 } }\n", "config.bad_value", "to 2000000000"],
    ['mcp: { servers: { a: { command: "x\\0y" } } }\n', "config.bad_value", "NUL"],
    ['mcp: { servers: { a: { command: x, args: ["\\0"] } } }\n', "config.bad_value", "NUL"],
    ['mcp: { servers: { a: { command: x, env: { "A=B": c } } } }\n', "config.bad_value", "no ="],
    ["mcp: { servers: { a: { command: x, cwd: here } } }\n", "config.bad_value", "absolute path"],
    [
      "mcp: { servers: { a: { command: x, env: { A: 5 } } } }\n",
      "config.bad_value",
      "mcp.servers.a: env.A: expected a string, got 5.",
    ],
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

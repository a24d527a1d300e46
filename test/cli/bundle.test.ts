import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Settings } from "../../scripts/bundle.ts";
import { openBundle, toManifest } from "../../scripts/bundle.ts";
import { toProgram } from "../../src/cli/program.ts";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";
import { ServerJson } from "./server-json.ts";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => JSON.parse(readFileSync(join(root, path), "utf8"));

/** A bundle as it lies unpacked, with this repository in the place of the installed package. */
function unpack(folder: string): string {
  const bundle = join(folder, "bundle");
  mkdirSync(join(bundle, "node_modules"), { recursive: true });
  symlinkSync(root, join(bundle, "node_modules/capstan"));
  writeFileSync(join(bundle, "package.json"), '{ "type": "module" }');
  copyFileSync(join(root, "bundle/start.js"), join(bundle, "start.js"));
  writeFileSync(join(bundle, "manifest.json"), JSON.stringify(toManifest()));
  return bundle;
}

async function namesOf(bundle: string, home: string, settings: Settings): Promise<readonly string[]> {
  await using client = await openBundle(bundle, home, settings);
  return (await client.listTools()).tools.map(({ name }) => name);
}

describe("the bundle", () => {
  test("has a manifest that mcpb accepts, and that says what package.json says", async () => {
    await using folder = await tempFolder();
    const bundle = unpack(folder.path);
    const mcpb = join(root, "node_modules/.bin/mcpb");
    const validate = () => execFileSync(mcpb, ["validate", join(bundle, "manifest.json")], { stdio: "pipe" });
    expect(validate).not.toThrow();
    const { version, description } = read("package.json");
    expect(toManifest()).toMatchObject({ manifest_version: "0.3", version, description });
    expect(toManifest()).toMatchObject({ user_config: { token: { sensitive: true, required: false } } });
    writeFileSync(join(bundle, "manifest.json"), JSON.stringify({ ...toManifest(), unknown: 1 }));
    expect(validate).toThrow("Command failed");
  });

  test("starts with nothing set, and gives folders only where they are set", async () => {
    await using folder = await tempFolder();
    const bundle = unpack(folder.path);
    const home = join(folder.path, "home");
    const data = ["one", "two with space"].map((name) => join(folder.path, name));
    for (const path of data) mkdirSync(path);
    await using without = await openBundle(bundle, home, {});
    expect((await without.listTools()).tools.map(({ name }) => name)).toContain("calculator");
    const hidden = await without.callTool({ name: "fs_list", arguments: { path: data[0] } });
    expect(hidden).toMatchObject({ isError: true });

    await using client = await openBundle(bundle, home, { read: data });
    for (const path of data) {
      expect(await client.callTool({ name: "fs_list", arguments: { path } })).not.toMatchObject({ isError: true });
    }
    const beyond = await client.callTool({ name: "fs_list", arguments: { path: home } });
    expect(beyond).toMatchObject({ isError: true });
  });

  test("acts under the token that is set, and refuses one that is not good", async () => {
    await using folder = await tempFolder();
    const bundle = unpack(folder.path);
    const home = join(folder.path, "home");
    const token = (await capstan(home, ["grant", "create", "--allow", "calculator"])).stdout.trim();
    expect(await namesOf(bundle, home, { token })).toEqual(["calculator"]);
    await expect(namesOf(bundle, home, { token: "nonsense" })).rejects.toThrow("Connection closed");
  });

  test("takes nothing but folders from its settings of folders", async () => {
    await using folder = await tempFolder();
    const bundle = unpack(folder.path);
    const home = join(folder.path, "home");
    for (const path of ["--allow=fs_list", "relative"]) {
      await expect(namesOf(bundle, home, { read: [path] })).rejects.toThrow("Connection closed");
    }
    expect(await namesOf(bundle, home, { read: [folder.path] })).toContain("fs_list");
  });
});

describe("server.json", () => {
  test("is what the registry takes, and agrees with package.json", () => {
    const server = ServerJson.parse(read("server.json"));
    const { name, version, mcpName } = read("package.json");
    expect(server).toMatchObject({ name: mcpName, version, packages: [{ identifier: name, version }] });
    for (const wrong of [{ name: "capstan" }, { version: "^0.1.0" }, { description: "x".repeat(101) }]) {
      expect(ServerJson.safeParse({ ...server, ...wrong }).success, JSON.stringify(wrong)).toBe(false);
    }
  });

  test("names only arguments that `capstan serve` has", () => {
    const args = ServerJson.parse(read("server.json")).packages.flatMap(
      ({ packageArguments = [] }) => packageArguments,
    );
    const serve = toProgram(() => {}).commands.find((command) => command.name() === args[0]?.value);
    const known = serve?.options.map(({ long }) => long);
    const named = args.filter(({ type }) => type === "named").map((arg) => ("name" in arg ? arg.name : ""));
    expect(named).toContain("--root");
    expect(known).toEqual(expect.arrayContaining(named));
  });
});

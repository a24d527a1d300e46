import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";

const source = join(import.meta.dirname, "../src");

const tools = (names: string): readonly string[] => names.split(" ").map((name) => `tools/${name}.ts`);

/**
 * Which rooms a room may import. A path instead of a room's name allows that one file. `all` is for the composition root and what
 * stands around it.
 */
const arrows: Readonly<Record<string, readonly string[] | "all">> = {
  core: [],
  store: ["core"],
  permissions: ["core", "store"],
  sandbox: ["core"],
  knowledge: ["core", "store"],
  files: ["core", "permissions", "store"],
  tools: ["core", "store", "permissions", "sandbox", "knowledge", "files"],
  host: [
    "core",
    "store",
    "permissions",
    "knowledge",
    ...tools("tool toolbox call schema json-schema prompt resource result"),
  ],
  server: ["core", "store", "permissions", "tools", "host"],
  cli: "all",
  "app.ts": "all",
  "cli.ts": "all",
  "config.ts": ["core", "host", "permissions", "sandbox", "server", ...tools("config")],
  "index.ts": "all",
  "run.ts": "all",
  "version.ts": [],
};

/** The packages a room may import, where the rule is narrower than package.json. */
const packages: Readonly<Record<string, readonly string[]>> = { core: ["zod"], store: ["zod"], permissions: ["zod"] };

interface Import {
  readonly file: string;
  readonly target: string;
}

function importsOf(file: string): readonly Import[] {
  const text = readFileSync(join(source, file), "utf8");
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b[^;"'`]*?from\s*"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s+"([^"]+)"/g;
  return [...text.matchAll(pattern)].map((match) => ({ file, target: match[1] ?? match[2] ?? match[3] ?? "" }));
}

const roomOf = (file: string): string => file.split("/")[0] ?? file;

/** What is wrong with one import; undefined when nothing is. */
function wrongWith({ file, target }: Import): string | undefined {
  const room = roomOf(file);
  if (!target.startsWith(".")) {
    const allowed = packages[room];
    const known = target.startsWith("node:") || allowed === undefined || allowed.includes(target);
    return known ? undefined : `${file} imports the package ${target}`;
  }
  const path = relative(source, join(source, dirname(file), target));
  const allowed = arrows[room];
  if (allowed === undefined) return `${file} stands in no room`;
  const known = allowed === "all" || roomOf(path) === room || allowed.includes(roomOf(path)) || allowed.includes(path);
  return known ? undefined : `${file} imports ${path}`;
}

const files = globSync("**/*.ts", { cwd: source });

describe("rooms", () => {
  test("each import follows an arrow", () => {
    const imports = files.flatMap(importsOf);
    expect(imports.length).toBeGreaterThan(100);
    expect(imports.map(wrongWith).filter((wrong) => wrong !== undefined)).toEqual([]);
  });

  test("parts of the server never import each other", () => {
    const parts = files.filter((file) => file.startsWith("server/"));
    const across = parts
      .flatMap(importsOf)
      .filter(({ target }) => target.startsWith("."))
      .map(({ file, target }) => [file, relative(source, join(source, dirname(file), target))] as const)
      .filter(([file, path]) => path.startsWith("server/") && path.split("/")[1] !== file.split("/")[1]);
    expect(across).toEqual([]);
  });

  test("only the composition root and the command line read the environment", () => {
    const readers = files.filter((file) => /\bprocess\.env\b/.test(readFileSync(join(source, file), "utf8")));
    expect(readers.filter((file) => !["app.ts", "cli.ts", "cli"].includes(roomOf(file)))).toEqual([]);
  });

  test("no file is longer than 400 lines", () => {
    const long = files.filter((file) => readFileSync(join(source, file), "utf8").split("\n").length > 401);
    expect(long).toEqual([]);
  });

  test("a forbidden import is seen", () => {
    expect(wrongWith({ file: "core/run.ts", target: "../store/store.ts" })).toBe("core/run.ts imports store/store.ts");
    expect(wrongWith({ file: "core/run.ts", target: "yaml" })).toBe("core/run.ts imports the package yaml");
    expect(wrongWith({ file: "host/drive.ts", target: "../tools/admit.ts" })).toBe(
      "host/drive.ts imports tools/admit.ts",
    );
    expect(wrongWith({ file: "host/drive.ts", target: "../tools/call.ts" })).toBeUndefined();
  });
});

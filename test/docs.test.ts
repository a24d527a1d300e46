import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { referenceFile, toReference } from "../scripts/cli-reference.ts";

const names = z.record(z.string(), z.string());
const root = join(import.meta.dirname, "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

describe("docs", () => {
  test("docs/cli.md is what --help says", () => {
    expect(readFileSync(referenceFile, "utf8")).toBe(toReference());
  });

  test("the README's own tool is the example that runs", () => {
    const parts = [...read("examples/own-tool/main.ts").matchAll(/\/\/ README: begin\n(.*?)\/\/ README: end/gs)];
    const shown = parts
      .map(([, part = ""]) => part)
      .join("")
      .replace("../../src/index.ts", "capstan")
      .trim();
    expect(shown).toContain("defineTool({");
    expect(read("README.md")).toContain(`<!-- example: own-tool -->\n\n\`\`\`ts\n${shown}\n\`\`\``);
  });

  test("docs/architecture.md says of each package what it is for", () => {
    const Packages = z.object({ dependencies: names, devDependencies: names });
    const { dependencies, devDependencies } = Packages.parse(JSON.parse(read("package.json")));
    const [, table = "", rest = ""] = read("docs/architecture.md").split(/^## Dependencies$|^For development only:$/m);
    const among = (text: string): readonly string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
    expect(Object.keys(dependencies).filter((name) => !among(table).includes(name))).toEqual([]);
    expect(Object.keys(devDependencies).filter((name) => !among(rest).includes(name))).toEqual([]);
  });

  test("every link to a file leads to one", () => {
    const pages = ["README.md", ...globSync("docs/*.md", { cwd: root })];
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
        .map(([, target = ""]) => join(dirname(page), target))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${page} → ${target}`),
    );
    expect(broken).toEqual([]);
  });
});

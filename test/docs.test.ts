import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { referenceFile, toReference } from "../scripts/cli-reference.ts";

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

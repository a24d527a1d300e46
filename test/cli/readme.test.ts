import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { bin, environment } from "../support/capstan.ts";
import { tempHomeWithPython } from "../support/python.ts";
import { tempFolder } from "../support/temp.ts";

const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");

/** Runs the shell commands that stand in the README under this mark, as they stand there but for how Capstan is started. */
async function runExample(
  mark: string,
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  const [, commands] = new RegExp(`<!-- example: ${mark} -->\\s*\`\`\`sh\\n(.*?)\`\`\``, "s").exec(readme) ?? [];
  if (commands === undefined) throw new Error(`The README has no example ${mark}.`);
  await using folder = await tempFolder();
  await using home = await tempHomeWithPython();
  const script = commands.replaceAll("npm start --silent --", `"${process.execPath}" "${bin}"`);
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
    cwd: folder.path,
    env: { ...environment, CAPSTAN_HOME: home.path },
    encoding: "utf8",
    timeout: 120_000,
  });
  return { code: status, stdout, stderr };
}

describe("the README's refusals", () => {
  test("Python finds neither the host's files nor the network", async () => {
    const { code, stdout } = await runExample("refuse-python");
    const result = JSON.parse(stdout);
    expect(result.stdout).toMatch(/^False /);
    expect(result).toMatchObject({ status: "error", error: expect.stringContaining("OSError") });
    expect(code).toBe(1);
  });

  test("a file where no folder was granted", async () => {
    const { code, stdout, stderr } = await runExample("refuse-file");
    expect({ code, stdout }).toEqual({ code: 6, stdout: "" });
    expect(stderr).toContain("--root /etc/passwd");
  });

  test("a token for one call, used twice", async () => {
    const { code, stdout, stderr } = await runExample("refuse-twice");
    expect(stdout.match(/42/g)).toHaveLength(1);
    expect(code).toBe(5);
    expect(stderr).toContain("budget.calls");
  });
});

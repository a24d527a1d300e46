import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { capstan } from "../support/capstan.ts";
import { tempFolder } from "../support/temp.ts";

describe("capstan completion", () => {
  test("bash completes commands, subcommands and options", async () => {
    await using home = await tempFolder();
    const { stdout } = await capstan(home.path, ["completion", "bash"]);
    const complete = (line: string): readonly string[] => {
      const words = line.split(" ");
      const script = `${stdout}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")})\nCOMP_CWORD=${words.length - 1}\n_capstan\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
      return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split("\n");
    };
    expect(complete("capstan gr")).toEqual(["grant"]);
    expect(complete("capstan grant re")).toEqual(["revoke"]);
    expect(complete("capstan run --mo")).toEqual(["--model"]);
    expect(complete("capstan runs s")).toEqual(["show"]);
  });

  test.each(["zsh", "fish"])("%s gets a script", async (shell) => {
    await using home = await tempFolder();
    const { code, stdout } = await capstan(home.path, ["completion", shell]);
    expect(code).toBe(0);
    expect(stdout).toContain("capstan");
    expect(stdout).toContain("revoke");
  });

  test("an unknown shell is a usage error", async () => {
    await using home = await tempFolder();
    expect(await capstan(home.path, ["completion", "csh"])).toMatchObject({ code: 2, stdout: "" });
  });
});

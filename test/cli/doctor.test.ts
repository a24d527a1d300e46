import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { bin, capstan } from "../support/capstan.ts";
import { testWith } from "../support/machine.ts";
import { tempHomeWithPython } from "../support/python.ts";

describe("capstan doctor", () => {
  test("tries the home and each engine, and tells which the config does not offer, and what is wrong with wheels and agents", async () => {
    await using home = await tempHomeWithPython();
    const { code, stdout } = await capstan(home.path, ["doctor"]);
    expect(stdout).toContain(`ok       home: ${home.path}\n`);
    expect(stdout).toMatch(/^ok {7}quickjs: javascript/m);
    expect(stdout).toMatch(/^ok {7}pyodide: python/m);
    expect(code).toBe(0);

    // In the same home, where what Python starts from is made by now: what the config says of engines.
    const config = join(home.path, "capstan.yaml");
    writeFileSync(config, "sandbox: { engines: [quickjs] }");
    const some = await capstan(home.path, ["doctor"]);
    expect(some.stdout).toMatch(/^ok {7}quickjs: javascript, typescript; isolation wasm-in-thread$/m);
    expect(some.stdout).toMatch(/pyodide: python; isolation wasm-in-child; not offered: sandbox.engines leaves it out/);
    expect(some.code).toBe(0);
    writeFileSync(join(home.path, "six-1.17.0-py2.py3-none-any.whl"), "no wheel");
    const agents = `{ a: { description: Counts, instructions: i, tools: [calculator] }, b: { description: d, instructions: "{{ x }}",
      tools: [calclator] } }`;
    writeFileSync(config, `sandbox: { wheels: ${JSON.stringify(home.path)} }\nhost: { agents: ${agents} }`);
    const wheels = await capstan(home.path, ["doctor"]);
    expect(wheels.stdout).toMatch(/^ok {7}agent a: Counts$/m);
    expect(wheels.stdout).toMatch(/^missing {2}agent b: .*they use x, .* calclator in its tools names no tool\.$/m);
    expect(wheels.code).toBe(1);
    expect(wheels.stdout).toMatch(
      /^missing {2}pyodide: python; isolation wasm-in-child; packages six 1.17.0\. Wheels in/m,
    );
    expect(wheels.stdout).toMatch(/six-1.17.0-py2.py3-none-any.whl: it can't be read: .*docs\/sandbox.md says which/);
    // Models are looked at, and nobody is asked: there is no such host.
    const host = { model: "openai:m", providers: { away: { baseUrl: "http://nowhere.invalid/v1" } } };
    writeFileSync(config, JSON.stringify({ sandbox: { engines: ["quickjs"] }, host }));
    const models = await capstan(home.path, ["doctor"]);
    expect(models.stdout).toMatch(/^missing {2}model openai:m: No key for openai\. Set OPENAI_API_KEY/m);
    expect(models.stdout).toMatch(/^ok {7}endpoint away: /m);
    expect(models.code).toBe(1);
    const keyed = await capstan(home.path, ["doctor"], { env: { OPENAI_API_KEY: "secret" } });
    expect(keyed.stdout).toMatch(/^ok {7}model openai:m: .*no price in host\.prices/m);
    expect(keyed.stdout).toMatch(/^ok {7}OPENAI_API_KEY: is set; used only when a model names it/m);
    expect(keyed.stdout).not.toContain("secret");
    expect(keyed.code).toBe(0);
    writeFileSync(config, "sandbox: { engines: [quickjs], isolation: container }");
    const none = await capstan(home.path, ["doctor"]);
    expect(none).toMatchObject({ code: 1, stderr: "" });
    expect(none.stdout).toMatch(/^missing {2}home: config.bad_value: No engine of sandbox.engines/m);
  });

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

  testWith("bubblewrap")("says of bubblewrap what the config lets Python do with it", async () => {
    await using home = await tempHomeWithPython();
    const { stdout } = await capstan(home.path, ["doctor"]);
    expect(stdout).toMatch(/^ok {7}bwrap: bubblewrap [\d.]+; pyodide runs inside it where it works$/m);
    expect(stdout).toMatch(/^ok {7}bubblewrap: .*; packages this machine's packages$/m);
    writeFileSync(join(home.path, "capstan.yaml"), "sandbox: { bubblewrap: never }");
    const never = await capstan(home.path, ["doctor"]);
    expect(never.stdout).toMatch(/^ok {7}bwrap: bubblewrap [\d.]+; pyodide does without it, by sandbox.bubblewrap$/m);
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

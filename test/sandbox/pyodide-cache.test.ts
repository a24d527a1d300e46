import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, readdirSync, statSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openPyodideEngine } from "../../src/sandbox/pyodide.ts";
import { preparePython } from "../../src/sandbox/pyodide/prepare.ts";
import { testWith } from "../support/machine.ts";
import { pythonCache } from "../support/python.ts";
import { tempFolder } from "../support/temp.ts";
import { runIn, testLimits } from "./hostile.ts";
import { openPython } from "./python.ts";

const never = new AbortController().signal;

describe("what Python starts from", () => {
  test("two that make it at the same time both get it, once", async () => {
    await using folder = await tempFolder();
    const cacheDir = join(folder.path, "cache");
    await using one = openPyodideEngine({ cacheDir, warm: 0 });
    await using other = openPyodideEngine({ cacheDir, warm: 0 });
    const results = await Promise.all([runIn(one, "python", "1"), runIn(other, "python", "2")]);
    expect(results.map(({ result }) => result)).toEqual([1, 2]);
    const made = readdirSync(cacheDir);
    expect(made).toEqual([expect.stringMatching(/^python-[0-9a-f]{32}$/)]);
    expect([cacheDir, join(cacheDir, made.join(""))].map((path) => statSync(path).mode & 0o777)).toEqual([
      0o700, 0o700,
    ]);
  });

  testWith("linux")("is not taken from a folder where others may write", async () => {
    await using folder = await tempFolder();
    const cacheDir = join(folder.path, "cache");
    cpSync(pythonCache, cacheDir, { recursive: true });
    chmodSync(cacheDir, 0o777);
    await using engine = openPyodideEngine({ cacheDir, warm: 0 });
    await expect(engine.open({ language: "python" }, never)).rejects.toMatchObject({ code: "sandbox.unavailable" });
    expect(await engine.probe(never)).toMatchObject({ reason: expect.stringContaining("chmod 700") });
    chmodSync(cacheDir, 0o700);
    expect(await engine.probe(never)).toBeNull();
  });

  testWith("linux")("is found behind a link, with bubblewrap and without", async () => {
    await using folder = await tempFolder();
    const cacheDir = join(folder.path, "link");
    symlinkSync(pythonCache, cacheDir);
    for (const bubblewrap of ["auto", "never"] as const) {
      await using engine = openPyodideEngine({ cacheDir, bubblewrap, warm: 0 });
      expect(await runIn(engine, "python", "1")).toMatchObject({ status: "ok", result: 1 });
    }
  });

  test("is all that stays of what killed makers and earlier versions left", async () => {
    await using folder = await tempFolder();
    const cacheDir = join(folder.path, "cache");
    cpSync(pythonCache, cacheDir, { recursive: true });
    const { made } = await preparePython(cacheDir, never);
    const hash = "0123456789abcdef0123456789abcdef";
    const draft = `python-${hash}.7a0ab1e6-8f5c-4a12-9d3a-3f1b4d8c2f11`;
    const hour = 3_600;
    const left = [
      [draft, 2 * hour],
      [draft.replace("7a", "8a"), 0],
      [`python-${hash}`, 31 * 24 * hour],
      [`python-${hash.replace("0", "f")}`, 29 * 24 * hour],
      ["python-notes", 99 * 24 * hour],
    ] as const;
    const now = Date.now() / 1_000;
    for (const [name, ageSeconds] of left) {
      mkdirSync(join(cacheDir, name));
      utimesSync(join(cacheDir, name), now, now - ageSeconds);
    }
    utimesSync(made, now, now - 60 * 24 * hour);
    expect((await preparePython(cacheDir, never)).made).toBe(made);
    const stayed = readdirSync(cacheDir);
    expect(left.map(([name]) => stayed.includes(name))).toEqual([false, true, false, true, true]);
    // The one in use is used now, for whoever sweeps next.
    expect(Date.now() - statSync(made).mtimeMs).toBeLessThan(hour * 1_000);
  });

  testWith("linux")("is told to be missing where it can't be made", async () => {
    await using folder = await tempFolder();
    const cacheDir = join(folder.path, "cache");
    mkdirSync(cacheDir, { mode: 0o700 });
    // A program that lies where a folder must: nobody, not even root, makes the folder then.
    const versions = readdirSync(pythonCache).filter((name) => name.startsWith("python-"));
    for (const entry of versions) cpSync(join(pythonCache, entry, "main.mjs"), join(cacheDir, entry));
    await using engine = openPyodideEngine({ cacheDir, warm: 0 });
    await expect(engine.open({ language: "python" }, never)).rejects.toMatchObject({ code: "sandbox.unavailable" });
  });
});

testWith("bubblewrap")("Python runs without bubblewrap where that is not to be had, and says so", async () => {
  const bwrap = execFileSync("/bin/sh", ["-c", "command -v bwrap"], { encoding: "utf8" }).trim();
  await using engine = openPython({ warm: 0 });
  await runIn(engine, "python", "1");
  const program = `
    import { openPyodideEngine } from ${JSON.stringify(join(import.meta.dirname, "../../src/sandbox/pyodide.ts"))};

    await using engine = openPyodideEngine({ cacheDir: ${JSON.stringify(pythonCache)}, warm: 0 });
    const signal = new AbortController().signal;
    await using sandbox = await engine.open({ language: "python" }, signal);
    const { status, isolation } = await sandbox.run({ language: "python", code: "1", files: [], limits: ${JSON.stringify(testLimits)} }, signal);
    console.log(JSON.stringify([status, isolation.network]));
  `;
  const node = [process.execPath, "--no-warnings", "--input-type=module-typescript", "--eval", program];
  const args = ["--dev-bind", "/", "/", "--ro-bind", "/dev/null", bwrap, "--", ...node];
  expect(JSON.parse(execFileSync("bwrap", args, { encoding: "utf8" }))).toEqual(["ok", "stubs in the child only"]);
});

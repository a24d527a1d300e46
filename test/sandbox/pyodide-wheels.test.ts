import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openPyodideEngine } from "../../src/sandbox/pyodide.ts";
import { findWheels } from "../../src/sandbox/pyodide/wheels.ts";
import { makePipe } from "../files/tree.ts";
import { tempFolder } from "../support/temp.ts";
import { toZip, type ZipEntry } from "../support/zip.ts";
import { runIn } from "./hostile.ts";
import { pythonCache } from "../support/python.ts";

const about = (name: string, tag = "py3-none-any", pure = "true"): readonly ZipEntry[] => [
  { path: `${name}-1.5.dist-info/WHEEL`, data: `Wheel-Version: 1.0\nRoot-Is-Purelib: ${pure}\nTag: ${tag}\n` },
  { path: `${name}-1.5.dist-info/METADATA`, data: `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.5\n` },
];
const wheel = (name: string, ...entries: readonly ZipEntry[]): Buffer => toZip([...entries, ...about(name)]);
const good = wheel(
  "greeting",
  { path: "greeting/__init__.py", data: "from .words import hello\nimport json\nJSON = json.__file__\n" },
  {
    path: "greeting/words.py",
    data: 'from importlib.resources import files\nhello = files("greeting").joinpath("hello.txt").read_text()\n',
  },
  { path: "greeting/hello.txt", data: "hello" },
  { path: "greeting/old.py", data: 'print "Python 2"\n' },
  { path: "space/of/names.py", data: "here = 1\n" },
  { path: "json/__init__.py", data: "raise SystemExit('shadowed')\n" },
  { path: "greeting-1.5.data/purelib/moved.py", data: "here = 2\n" },
  { path: "greeting-1.5.data/scripts/greet", data: "#!python\n" },
);

/** An engine over a folder with these wheels. */
async function openWith(wheels: Readonly<Record<string, Uint8Array>>, bubblewrap: "auto" | "never" = "auto") {
  await using made = new AsyncDisposableStack();
  const { path } = made.use(await tempFolder());
  for (const [name, bytes] of Object.entries(wheels)) await writeFile(join(path, name), bytes);
  const engine = made.use(openPyodideEngine({ cacheDir: pythonCache, wheels: path, warm: 0, bubblewrap }));
  const kept = made.move();
  return { engine, path, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

describe("wheels of pure Python", () => {
  test("are importable, with their data and versions, behind the standard library, and packed once", async () => {
    await using python = await openWith({ "greeting-1.5-py3-none-any.whl": good, "README.txt": Buffer.from("x") });
    expect(python.engine.packages).toEqual(["greeting 1.5"]);
    // What wheels of earlier that nobody used for a month were packed into.
    const unused = join(pythonCache, `wheels-${"0".repeat(32)}`);
    await mkdir(unused);
    await utimes(unused, new Date(0), new Date(0));
    const code = `import greeting, json, moved, importlib.metadata
from space.of import names
try:
    import greeting.old
except SyntaxError as error:
    old = "SyntaxError"
(greeting.hello, greeting.JSON == json.__file__, names.here, moved.here, importlib.metadata.version("greeting"), old)`;
    const first = await runIn(python.engine, "python", code);
    expect(first).toMatchObject({ status: "ok", result: ["hello", true, 1, 2, "1.5", "SyntaxError"] });
    expect(existsSync(unused)).toBe(false);
    const packed = async () => (await readdir(pythonCache)).filter((name) => name.startsWith("wheels-"));
    const before = await packed();
    await using again = await openWith({ "greeting-1.5-py3-none-any.whl": good });
    expect(await runIn(again.engine, "python", "import greeting\ngreeting.hello")).toMatchObject({ result: "hello" });
    expect(await packed()).toEqual(before);
  });

  test("are the guest's own copy: what it does to them reaches neither the next run nor the disk", async () => {
    await using python = await openWith({ "greeting-1.5-py3-none-any.whl": good }, "never");
    const spoil = `import greeting, os
open("/lib/packages.zip", "wb").write(b"spoiled")
(os.path.exists("${python.path}"), os.path.exists("${pythonCache}"))`;
    expect(await runIn(python.engine, "python", spoil)).toMatchObject({ status: "ok", result: [false, false] });
    expect(await runIn(python.engine, "python", "import greeting\ngreeting.hello")).toMatchObject({ result: "hello" });
    expect(execFileSync("cat", [join(python.path, "greeting-1.5-py3-none-any.whl")])).toEqual(good);
  });

  test("don't import where there are none", async () => {
    await using python = await openWith({});
    expect(python.engine.packages).toEqual([]);
    const code = "try:\n    import greeting\nexcept ImportError:\n    result = 'none'";
    expect(await runIn(python.engine, "python", code)).toMatchObject({ result: "none" });
  });
});

const link = { mode: 0o120777 };
const bad: readonly (readonly [why: string, bytes: Buffer, said: string])[] = [
  ["leads out by ..", wheel("bad", { path: "../evil.py", data: "x" }), "it holds the path '../evil.py'"],
  [
    "leads out by a part",
    wheel("bad", { path: "bad/../../evil.py", data: "x" }),
    "it holds the path 'bad/../../evil.py'",
  ],
  ["names a place", wheel("bad", { path: "/lib/evil.py", data: "x" }), "it holds the path '/lib/evil.py'"],
  ["names a place on Windows", wheel("bad", { path: "C:evil.py", data: "x" }), "it holds the path 'C:evil.py'"],
  ["holds a link", wheel("bad", { path: "bad/link", data: "/etc/passwd", ...link }), "it holds the link 'bad/link'"],
  ["holds native code", wheel("bad", { path: "bad/fast.cpython-314.so", data: "x" }), "it holds native code"],
  [
    "holds files for one platform",
    wheel("bad", { path: "bad-1.5.data/platlib/x.py", data: "" }),
    "files for one platform",
  ],
  ["is built for one platform", toZip(about("bad", "cp314-cp314-linux_x86_64")), "made for 'cp314-cp314-linux_x86_64'"],
  ["says that it is not pure", toZip(about("bad", "py3-none-any", "false")), "made for one platform"],
  ["says nothing of itself", toZip([{ path: "bad.py", data: "" }]), "0 folders .dist-info"],
  ["unpacks to too much", wheel("bad", { path: "x", data: "x", saysBytes: 2 ** 30 }), "unpack to more than"],
  ["is encrypted", wheel("bad", { path: "x", data: "x", flags: 1 }), "it is encrypted"],
  [
    "is of a version to come",
    toZip(
      about("bad").map((entry) => ({
        ...entry,
        data: String(entry.data).replace("Wheel-Version: 1.0", "Wheel-Version: 2.0"),
      })),
    ),
    "a wheel of version '2.0'",
  ],
  ["is no zip", Buffer.from("PK, but no more than that"), "it can't be read"],
  ["lies about its bytes", wheel("bad", { path: "bad/x.txt", data: "x".repeat(99), saysBytes: 9 }), "it can't be read"],
  ["holds what another holds", wheel("bad", { path: "greeting/words.py", data: "" }), "'greeting/words.py' too"],
];

describe("a wheel that", () => {
  test("leads out, links, is native, for one platform, too large, damaged or there twice is refused with its reason", async () => {
    const named = bad.map(([why, bytes]) => [`${why.replaceAll(/\W/g, "_")}-1.5-py3-none-any.whl`, bytes] as const);
    await using python = await openWith({ ...Object.fromEntries(named), "a_good-1.5-py3-none-any.whl": good });
    const refused = (await python.engine.probe(AbortSignal.timeout(110_000)))?.reason ?? "";
    const told = refused.split(/; | can't be used: /).map((part) => part.split(".whl: "));
    for (const [index, [name]] of named.entries()) {
      expect(told).toContainEqual([name.slice(0, -4), expect.stringContaining(bad[index]?.[2] ?? "?")]);
    }
    expect(refused).not.toContain("a_good-1.5-py3-none-any.whl: ");
  });

  test.for([
    ["is for one platform", "x-1.0-cp314-cp314-manylinux_2_17_x86_64.whl"],
    ["is for Python 2", "x-1.0-py2-none-any.whl"],
    ["has no version", "x-py3-none-any.whl"],
    ["has a strange name", "x y-1.0-py3-none-any.whl"],
  ] as const)("%s by its name is refused at the start", async ([, name]) => {
    await using folder = await tempFolder();
    await writeFile(join(folder.path, name), good);
    expect(() => findWheels(folder.path)).toThrow(expect.objectContaining({ code: "config.bad_value" }));
  });

  test("is another version of one that is there is refused at the start, with all others that are wrong", async () => {
    await using folder = await tempFolder();
    const names = ["Six.S-1.16.0-py3-none-any.whl", "six_s-1.17.0-py3-none-any.whl", "x-1.0-cp314-cp314-any.whl"];
    for (const name of names) await writeFile(join(folder.path, name), good);
    const said =
      /six_s-1\.17\.0-py3-none-any\.whl: it is the same package as Six\.S-1\.16\.0.*; x-1\.0-.*its name does/;
    expect(() => findWheels(folder.path)).toThrow(said);
  });

  test("is a link, a pipe, a folder or larger than all may be is refused, and not waited for", async () => {
    const name = "x-1.0-py3-none-any.whl";
    const makes: readonly ((at: string) => unknown)[] = [
      (at) => symlink("/etc/passwd", at),
      (at) => makePipe(at),
      (at) => mkdir(at),
      async (at) => {
        await writeFile(at, "");
        await truncate(at, 2 ** 40);
      },
    ];
    for (const make of makes) {
      await using python = await openWith({});
      await make(join(python.path, name));
      await using engine = openPyodideEngine({ cacheDir: pythonCache, wheels: python.path, warm: 0 });
      const refused = await engine.probe(AbortSignal.timeout(110_000));
      expect(refused?.reason).toMatch(/no file that can be read|more than 67108864 bytes/);
    }
  });
});

test("a folder of wheels that is not there, or that everybody may write, is refused at the start", async () => {
  await using folder = await tempFolder();
  expect(() => findWheels(join(folder.path, "absent"))).toThrow(/can't be listed/);
  await chmod(folder.path, 0o777);
  expect(() => findWheels(folder.path)).toThrow(/everybody may write/);
  await chmod(folder.path, 0o755);
  await writeFile(join(folder.path, "six-1.17.0-py2.py3-none-any.whl"), good);
  expect(findWheels(folder.path).packages).toEqual(["six 1.17.0"]);
});

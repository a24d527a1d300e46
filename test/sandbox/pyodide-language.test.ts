import { afterAll, expect, test } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { runIn } from "./hostile.ts";
import { openPython } from "./python.ts";

const engine = openPython();
afterAll(() => engine[Symbol.asyncDispose]());
const run = (code: string, over?: Parameters<typeof runIn>[3]) => runIn(engine, "python", code, over);
const echo = (name: string, args: Json): Promise<Json> => Promise.resolve([name, args]);

test.for<readonly [what: string, code: string, result: Json]>([
  ["the last expression", "x = 20\nx + 1", 21],
  ["a last expression that awaits", "import asyncio\nawait asyncio.sleep(0, 'slept')", "slept"],
  ["the variable, where the last expression is None", "result = {'a': (1, 2)}\nprint('x')", { a: [1, 2] }],
  ["the variable, where the code ends with a statement", "for i in range(3): result = i", 2],
  ["nothing", "x = 1", null],
  ["of no code at all", "", null],
  ["an event loop of the code's own", "import asyncio\nasync def main(): return 7\nasyncio.run(main())", 7],
  ["SQLite", "import sqlite3\nsqlite3.connect(':memory:').execute('select 6 * 7').fetchone()", [42]],
  [
    "compression",
    "import zlib, bz2, lzma\n[m.decompress(d) for m, d in [(zlib, zlib.compress(b'x')), (bz2, bz2.compress(b'x')), (lzma, lzma.compress(b'x', preset=0))]] == [b'x'] * 3",
    true,
  ],
  ["hashes", "import hashlib\nhashlib.sha256(b'').hexdigest()[:8]", "e3b0c442"],
  ["decimals", "from decimal import Decimal\nstr(Decimal(1) / 8)", "0.125"],
  [
    "callbacks of C",
    `
import ctypes
order = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1)
order(41)`,
    42,
  ],
  [
    "the colours of traces, which are loaded late",
    `
import _colorize, argparse, traceback
from _colorize import ANSIColors, get_theme
seen = []
try: 1 / 0
except ZeroDivisionError as error: seen = [line.split()[0] for line in traceback.format_exception(error, colorize=True)]
_colorize.COLORIZE = False
[seen[0], ANSIColors.RED, get_theme(force_no_color=True).traceback.message, _colorize.can_colorize(), hasattr(_colorize, "missing"), _colorize.__name__]`,
    ["Traceback", "\u001b[31m", "", false, false, "_colorize"],
  ],
])("the result is %s", async ([, code, result]) => {
  expect(await run(code)).toMatchObject({ status: "ok", result });
});

test("keys that became the same text are noted, and text alone is not", async () => {
  expect(await run("{True: 1, 'True': 2}")).toMatchObject({
    result: { True: 2 },
    resultNote: "of keys that became the same text the last one is there; keys became text",
  });
  expect(await run("{'a': 1, 'True': 2}")).not.toHaveProperty("resultNote");
});

test("every module of the standard library loads that can", async () => {
  const { result } = await run(`
import importlib, warnings, zipimport
warnings.simplefilter("ignore")
library = "/lib/python314.zip"
known = zipimport._zip_directory_cache[library]
files = [name for name in known if name.endswith(".pyc")]
names = {name.removesuffix(".pyc").removesuffix("/__init__").replace("/", ".") for name in files}
failed = []
for name in sorted(names - {"antigravity", "this", "sitecustomize"}):
    if name.endswith("__main__") or name.startswith(("_pyrepl", "ctypes.macholib")): continue
    try: importlib.import_module(name)
    except ImportError: failed.append(name)
[len(names) > 500, known == zipimport._read_directory(library), failed]`);
  const needless = /^(asyncio\.windows_|concurrent\.|encodings\.(mbcs|oem)$|multiprocessing\.|pyodide\.)/;
  expect(result).toEqual([true, true, expect.any(Array)]);
  const failed = Array.isArray(result) && Array.isArray(result[2]) ? result[2] : [];
  expect(failed.filter((name) => !needless.test(String(name)))).toEqual([]);
});

test("a traceback names the lines of the code, and nothing of what runs it", async () => {
  const { error } = await run(`import json\ndef f(x):\n    return json.loads(x)\nf("{")`);
  expect(error).toMatch(
    /^Traceback \(most recent call last\):\n {2}File "main.py", line 4, in <module>\n {4}f\("\{"\)\n/,
  );
  expect(error).toMatch(/json\.decoder\.JSONDecodeError: Expecting property name/);
  expect(error).not.toMatch(/_capstan|eval_code|execute|evaluate/);
});

test("a module that came as a file is imported", async () => {
  const files = [{ path: "helper.py", bytes: Buffer.from("def twice(n): return 2 * n") }];
  expect(await run("import helper\nhelper.twice(21)", { files })).toMatchObject({ status: "ok", result: 42 });
});

test("what lies in /out comes out, with its folders and its bytes", async () => {
  const { artifacts } = await run(`
import os
os.makedirs("a/b")
open("a/b/c.bin", "wb").write(bytes(range(256)))
open("d.txt", "w", encoding="utf8").write("é")
os.symlink("d.txt", "e.txt")`);
  expect(artifacts.map(({ path, bytes }) => [path, Buffer.from(bytes).toString("hex")])).toEqual([
    ["a/b/c.bin", Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)).toString("hex")],
    ["d.txt", "c3a9"],
  ]);
});

test("a call is possible anywhere, and waits", async () => {
  const { result } = await run(
    `
class Asks:
    def __init__(self, n): self.n = n
    def __lt__(self, other): return tools.less(a=self.n, b=other.n)[1]["a"] < other.n
[one.n for one in sorted([Asks(3), Asks(1), Asks(2)])] + [tools.two({"x": 1}), list(map(lambda n: tools.three(n=n)[0], [1]))]`,
    { onCall: echo },
  );
  expect(result).toEqual([1, 2, 3, ["two", { x: 1 }], ["three"]]);
});

test("calls that are awaited go side by side", async () => {
  let running = 0;
  let most = 0;
  const onCall = async (_name: string, args: Json): Promise<Json> => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 50));
    running -= 1;
    return args;
  };
  const code = `
import asyncio
await asyncio.gather(*[tools.acall("echo", n=n, big="x" * 100_000) for n in range(5)])
[one["n"] for one in await asyncio.gather(*[tools.acall("echo", n=n) for n in range(5)])]`;
  expect(await run(code, { onCall })).toMatchObject({ status: "ok", result: [0, 1, 2, 3, 4] });
  expect(most).toBe(5);
});

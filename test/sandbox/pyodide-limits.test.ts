import { expect } from "vitest";
import { describeHostile } from "./hostile.ts";
import { openPython, type PythonCase, toHostile } from "./python.ts";

const files: readonly PythonCase[] = [
  {
    id: "B26",
    title: "a link, a folder and a device in /out stay there",
    code: `
import os
open("/out/good.txt", "w").write("good")
os.symlink("/out/good.txt", "/out/link.txt")
os.symlink("/etc/passwd", "/out/passwd")
os.makedirs("/out/empty/folder")
for make in (lambda: os.mkfifo("/out/fifo"), lambda: os.mknod("/out/device", 0o20666, 0), lambda: os.link("/out/good.txt", "/out/hard.txt")):
    try: make()
    except (AttributeError, OSError): pass
None`,
    status: "ok",
    check: ({ artifacts, resultNote }) => {
      expect(artifacts.map(({ path }) => path)).toEqual(["good.txt"]);
      expect(resultNote).toContain("/out");
    },
  },
  {
    id: "B28",
    title: "a sparse file of a tebibyte is refused",
    code: `open("/out/sparse", "wb").truncate(1 << 40)`,
    check: ({ error, artifacts }) => {
      expect(error).toContain("No space left on device");
      expect(artifacts.map(({ bytes }) => bytes.length)).toEqual([0]);
    },
  },
  {
    id: "B28b",
    title: "a sparse file beyond the limits stays there",
    code: `open("/out/sparse", "wb").truncate(8 << 20)`,
    status: "ok",
    check: ({ artifacts, resultNote }) => {
      expect(artifacts).toEqual([]);
      expect(resultNote).toContain("/out");
    },
  },
  {
    id: "B29",
    title: "the disk is full at its limit, and room comes back",
    code: `
import os
def fill(name):
    taken = 0
    try:
        with open(name, "wb", buffering=0) as file:
            while True: taken += file.write(b"x" * (1 << 20))
    except OSError as error:
        return error.strerror, 48 <= taken >> 20 <= 64
full = fill("/tmp/full")
os.unlink("/tmp/full")
open("/tmp/again", "wb").write(b"x" * (32 << 20))
full`,
    status: "ok",
    check: ({ result }) => expect(result).toEqual(["No space left on device", true]),
  },
  {
    id: "B34",
    title: "an input file is a copy",
    code: `open("/in/given.txt", "w").write("changed")`,
    status: "ok",
    request: { files: [{ path: "given.txt", bytes: Buffer.from("given") }] },
  },
];

const limits: readonly PythonCase[] = [
  { id: "E48", title: "a busy loop ends", code: `while True: pass`, status: "timeout", limits: { wallMs: 500 } },
  {
    id: "E49",
    title: "a loop that catches everything ends",
    code: `
while True:
    try:
        while True: pass
    except BaseException: pass`,
    status: "timeout",
    limits: { wallMs: 500 },
  },
  {
    id: "E51",
    title: "a native that never polls ends",
    code: `import re\nre.match("(a+)+$", "a" * 40 + "b")`,
    status: "timeout",
    limits: { wallMs: 500 },
  },
  {
    id: "E56",
    title: "waiting for nothing ends",
    code: `import asyncio\nawait asyncio.Future()`,
    check: ({ usage }) => expect(usage.wallMs).toBeLessThan(5_000),
  },
  {
    id: "E58",
    title: "tasks and timers that are left end with the run",
    code: `
import asyncio
async def forever():
    while True: await asyncio.sleep(0.01)
task = asyncio.ensure_future(forever())
1`,
    status: "ok",
  },
  {
    id: "E57",
    title: "sleeping is not forever",
    code: `import time\ntime.sleep(60)`,
    status: "timeout",
    limits: { wallMs: 500 },
  },
  {
    id: "F64",
    title: "a bomb ends at the limit, and its catcher goes on",
    code: `
taken = []
try:
    while True: taken.append(bytearray(16 << 20))
except MemoryError: pass
size = len(taken)
del taken
size`,
    status: "ok",
    check: ({ result }) => expect(result).toBeLessThanOrEqual(4),
  },
  {
    id: "F64b",
    title: "a bomb outside of Python's own memory ends too",
    code: `
import pyodide_js
from pyodide.ffi import to_js
block, taken = b"x" * (8 << 20), []
while True: taken.append(to_js(block))`,
    status: ["memory", "error"],
  },
  {
    id: "F65",
    title: "recursion ends",
    code: `def f(): f()\nf()`,
    check: ({ error }) => expect(error).toContain("RecursionError"),
  },
  {
    id: "F65b",
    title: "recursion without Python's own limit ends the interpreter alone",
    code: `
import sys
sys.setrecursionlimit(10**9)
def f(): f()
f()`,
    status: ["crashed", "error"],
  },
  {
    id: "F67",
    title: "a number too large ends",
    code: `len(str(2 ** (2 ** 40)))`,
    status: ["memory", "error", "timeout"],
    limits: { wallMs: 2_000 },
  },
  {
    id: "F68",
    title: "a zip bomb ends",
    code: `
import zlib
packer = zlib.compressobj()
bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(160)) + packer.flush()
zlib.decompress(bomb)`,
    status: ["memory", "timeout"],
  },
  { id: "G71", title: "there are no threads", code: `import threading\nthreading.Thread(target=print).start()` },
  {
    id: "A20",
    title: "writing over all memory ends the interpreter alone",
    code: `import ctypes\nctypes.memset(0, 65, 20_000_000)`,
    status: ["crashed", "error", "timeout"],
    limits: { wallMs: 3_000 },
  },
];

describeHostile("Hostile Python against its limits", () => openPython(), [...files, ...limits].map(toHostile));

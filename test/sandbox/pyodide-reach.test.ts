import { describe, expect } from "vitest";
import { describeHostile } from "./hostile.ts";
import { alsoPlain, openPython, type PythonCase, toHostile } from "./python.ts";

/** What reaches for the machine: it must fail in bubblewrap and, behind the seal alone, without it. */
const reaching: readonly PythonCase[] = [
  {
    id: "A12",
    title: "the js module is empty",
    code: `import js\njs.process`,
    check: ({ error }) => expect(error).toContain("AttributeError"),
  },
  {
    id: "A13",
    title: "a function of Pyodide makes no code",
    code: `import pyodide_js\npyodide_js.runPython.constructor("return 1")()`,
    check: ({ error }) => expect(error).toContain("EvalError"),
  },
  {
    id: "A14",
    title: "an array's constructor makes no code",
    code: `from pyodide.ffi import to_js\nto_js([1]).constructor.constructor("return 1")()`,
    check: ({ error }) => expect(error).toContain("EvalError"),
  },
  { id: "A16", title: "JavaScript can't be run", code: `from pyodide.code import run_js\nrun_js("1")` },
  {
    id: "A17",
    title: "Pyodide loads no file",
    code: ({ file }) => `import pyodide_js\nbytes(await pyodide_js._api.loadBinaryFile("${file}"))`,
  },
  {
    id: "A17b",
    title: "Pyodide loads no script",
    code: `import pyodide_js\nawait pyodide_js.loadPackage("file:///etc/hostname")`,
  },
  {
    id: "A18",
    title: "there is no shell",
    code: ({ absent }) => `import os\nos.system("touch ${absent}")`,
    status: "ok",
    check: ({ result }) => expect(result).not.toBe(0),
  },
  {
    id: "A18b",
    title: "there are no processes",
    code: ({ absent }) => `import subprocess\nsubprocess.run(["touch", "${absent}"])`,
  },
  {
    id: "A19",
    title: "no folder of the machine is mounted",
    code: ({ file }) => `
import pyodide_js
from pyodide.ffi import to_js
pyodide_js.FS.mount(pyodide_js.FS.filesystems.NODEFS, to_js({"root": "/"}), "/in")
open("/in${file}").read()`,
  },
  {
    id: "A19b",
    title: "mountNodeFS mounts nothing",
    code: ({ file }) => `
import pyodide_js
pyodide_js.mountNodeFS("/machine", "/")
open("/machine${file}").read()`,
  },
  {
    id: "A21",
    title: "Node is not to be found from any object of JavaScript",
    code: `
import gc, pyodide_js
from pyodide.ffi import JsProxy, to_js
def walk(start):
    found, todo, seen = [], [(start, "", 0)], 0
    while todo and seen < 3000:
        item, path, depth = todo.pop()
        seen += 1
        try: names = [name for name in dir(item) if not name.startswith("__")]
        except BaseException: continue
        for name in names:
            if name in ("process", "require", "binding", "mainModule", "spawnSync", "readFileSync", "Buffer"): found.append(f"{path}.{name}")
            if depth < 3:
                try: child = getattr(item, name)
                except BaseException: continue
                if isinstance(child, JsProxy): todo.append((child, f"{path}.{name}", depth + 1))
    return found
[walk(start) for start in (pyodide_js, pyodide_js._api, pyodide_js._module, to_js([1]), to_js({"a": 1}), to_js(b"1"))]`,
    status: "ok",
    check: ({ result }) => expect(result).toEqual([[], [], [], [], [], []]),
  },
  { id: "B22", title: "the machine's files are not there", code: `open("/etc/passwd").read()` },
  { id: "B23", title: "a way up leads to nothing", code: ({ file }) => `open("/in/../../../../../..${file}").read()` },
  {
    id: "B31",
    title: "/proc shows no process of the machine",
    code: `
import os
seen = []
for path in ("/proc/1/root", "/proc/1/environ", "/proc/self/environ", "/proc/self/cmdline"):
    try: seen.append(os.listdir(path) if os.path.isdir(path) else open(path).read())
    except OSError: pass
seen`,
    status: "ok",
    check: ({ result }) => expect(result).toEqual([]),
  },
  {
    id: "C35",
    title: "the environment is empty of the machine's",
    code: `import os\ndict(os.environ)`,
    status: "ok",
    check: ({ result }) => expect(Object.keys(Object(result))).not.toContain("CANARY_ENV"),
  },
  { id: "C38", title: "no socket of a container engine is there", code: `open("/var/run/docker.sock")` },
  {
    id: "D40",
    title: "no TCP connection is made",
    code: ({ port }) => `
import socket
it = socket.socket()
it.connect(("127.0.0.1", ${port}))
it.send(b"GET / HTTP/1.0\\r\\n\\r\\n")`,
  },
  {
    id: "D40b",
    title: "no TCP connection is made by asyncio",
    code: ({ port }) => `
import asyncio
reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", ${port}), 2)
await reader.read()`,
  },
  {
    id: "D40c",
    title: "Pyodide's own sockets are not to be had",
    code: ({ port }) => `
import pyodide_js
await pyodide_js.useNodeSockFS()
import asyncio
await asyncio.open_connection("127.0.0.1", ${port})`,
  },
  {
    id: "D40d",
    title: "nothing is fetched",
    code: ({ port }) => `
from pyodide.http import pyfetch
await pyfetch("http://127.0.0.1:${port}/")`,
  },
  {
    id: "D40e",
    title: "urllib fetches nothing",
    code: ({ port }) => `import urllib.request\nurllib.request.urlopen("http://127.0.0.1:${port}/", timeout=2)`,
  },
  {
    id: "D41",
    title: "no packet is sent and no name is asked for",
    code: ({ port }) => `
import socket, time
start = time.perf_counter()
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", ${port}))
except Exception: pass
try: socket.create_connection(("example.invalid", 80), timeout=1)
except Exception: pass
time.perf_counter() - start < 1`,
    status: "ok",
    check: ({ result }) => expect(result).toBe(true),
  },
  {
    id: "D42",
    title: "the metadata addresses of clouds answer nothing",
    code: `
import socket
answers = []
for family, address in [(socket.AF_INET, "169.254.169.254"), (socket.AF_INET6, "fd00:ec2::254")]:
    try:
        it = socket.socket(family)
        it.settimeout(1)
        it.connect((address, 80))
        it.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answers.append(it.recv(1).decode())
    except Exception as error:
        answers.append(type(error).__name__)
answers`,
    status: "ok",
    limits: { wallMs: 10_000 },
    check: ({ result }) =>
      expect(result).toSatisfy(
        (answers: unknown) => Array.isArray(answers) && answers.every((answer) => /Error|timeout/.test(String(answer))),
      ),
  },
  {
    id: "D43",
    title: "no form of the address connects",
    code: ({ port }) => `
import socket
for family, address in [(socket.AF_INET6, "::1"), (socket.AF_INET6, "::ffff:127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "0x7f000001")]:
    try:
        it = socket.socket(family)
        it.connect((address, ${port}))
        it.send(b"x")
    except Exception: pass
try:
    it = socket.socket(socket.AF_UNIX)
    it.connect("\\0canary")
except Exception: pass
None`,
    status: "ok",
  },
  {
    id: "D46",
    title: "nothing listens",
    code: `
import socket
it = socket.socket()
it.bind(("0.0.0.0", 0))
it.listen()
it.accept()`,
    status: ["error", "timeout"],
    limits: { wallMs: 2_000 },
  },
];

describeHostile("Hostile Python reaching out", () => openPython(), reaching.map(toHostile));
describe.skipIf(!alsoPlain)("without bubblewrap", () => {
  describeHostile("Hostile Python reaching out", () => openPython({ bubblewrap: "never" }), reaching.map(toHostile));
});

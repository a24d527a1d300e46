import { expect } from "vitest";
import { either, type HostileCase, says } from "./case.ts";

/** Class A in Python: what Pyodide has to hand on, and the interpreter's own memory. Elsewhere these modules are missing. */
export const pyodideObjects: readonly HostileCase[] = [
  {
    id: "A12",
    title: "the js module is empty",
    in: { python: { code: `import js\njs.process`, check: says(/AttributeError|ModuleNotFoundError/) } },
  },
  {
    id: "A13",
    title: "a function of Pyodide makes no code",
    in: {
      python: {
        code: `import pyodide_js\npyodide_js.runPython.constructor("return 1")()`,
        check: says(/EvalError|ModuleNotFoundError/),
      },
    },
  },
  {
    id: "A14",
    title: "an array's constructor makes no code",
    in: {
      python: {
        code: `from pyodide.ffi import to_js\nto_js([1]).constructor.constructor("return 1")()`,
        check: says(/EvalError|ModuleNotFoundError/),
      },
    },
  },
  {
    id: "A16",
    title: "JavaScript can't be run",
    in: { python: `from pyodide.code import run_js\nrun_js("1")` },
  },
  {
    id: "A17",
    title: "Pyodide loads no file",
    in: { python: ({ file }) => `import pyodide_js\nbytes(await pyodide_js._api.loadBinaryFile("${file}"))` },
  },
  {
    id: "A17b",
    title: "Pyodide loads no script",
    in: { python: `import pyodide_js\nawait pyodide_js.loadPackage("file:///etc/hostname")` },
  },
  {
    id: "A18",
    title: "a shell touches nothing outside",
    in: {
      python: {
        code: ({ absent }) => `import os\nos.system("touch ${absent}")`,
        status: "ok",
        check: ({ result }) => expect(result).not.toBe(0),
      },
      bash: {
        code: ({ absent }) => `touch "${absent}" || exit 1`,
        status: ["ok", "error", "crashed"],
      },
    },
  },
  {
    id: "A18b",
    title: "a process touches nothing outside",
    in: {
      python: {
        code: ({ absent }) => `import subprocess\nsubprocess.run(["touch", "${absent}"], check=True)`,
      },
      javascript: {
        code: ({ absent }) => `require("node:child_process").execFileSync("touch", [${JSON.stringify(absent)}])`,
      },
    },
  },
  {
    id: "A19",
    title: "no folder of the machine is mounted",
    in: {
      python: ({ file }) => `
import pyodide_js
from pyodide.ffi import to_js
pyodide_js.FS.mount(pyodide_js.FS.filesystems.NODEFS, to_js({"root": "/"}), "/in")
open("/in${file}").read()`,
    },
  },
  {
    id: "A19b",
    title: "mountNodeFS mounts nothing",
    in: {
      python: ({ file }) => `
import pyodide_js
pyodide_js.mountNodeFS("/machine", "/")
open("/machine${file}").read()`,
    },
  },
  {
    id: "A20",
    title: "writing over all memory ends the interpreter alone",
    status: ["crashed", "error", "timeout"],
    limits: { wallMs: 3_000 },
    in: { python: `import ctypes\nctypes.memset(0, 65, 20_000_000)` },
  },
  {
    id: "A20b",
    title: "reading from address 0 reads nothing of the host",
    in: {
      python: {
        code: `import ctypes\nctypes.string_at(0, 64)\nNone`,
        status: ["ok", "crashed", "error"],
      },
    },
  },
  {
    id: "A21",
    title: "Node is not to be found from any object of JavaScript",
    in: {
      python: {
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
        native: { status: "error", check: () => undefined },
      },
      javascript: {
        code: `const found = [], todo = [[globalThis, ""]], seen = new Set([globalThis]);
          while (todo.length > 0 && seen.size < 20_000) {
            const [item, path] = todo.pop();
            for (const key of Reflect.ownKeys(item)) {
              const name = String(key);
              if (["process", "require", "binding", "mainModule", "WebAssembly", "Buffer", "Worker"].includes(name)) found.push(path + "." + name);
              const { value, get, set } = Reflect.getOwnPropertyDescriptor(item, key);
              for (const child of [value, get, set, Reflect.getPrototypeOf(item)]) {
                if (child === null || !["object", "function"].includes(typeof child) || seen.has(child)) continue;
                seen.add(child);
                todo.push([child, path + "." + name]);
              }
            }
          }
          [seen.size > 500, found]`,
        status: "ok",
        check: ({ result }) => expect(result).toEqual([true, []]),
        native: either,
      },
    },
  },
];

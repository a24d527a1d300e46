import { expect } from "vitest";
import { type HostileCase, is, says } from "./case.ts";

const outOfMemory = ["memory", "crashed"] as const;
/** An interpreter fills little memory in little time; however slow the machine is, memory must be what ends first. */
const small = { limits: { memoryBytes: 16 * 1024 * 1024, wallMs: 60_000, cpuMs: 60_000 } } as const;

/** Class F: memory. */
export const memory: readonly HostileCase[] = [
  {
    id: "F61",
    title: "lists",
    ...small,
    status: "memory",
    in: {
      javascript: "const a = []; for (;;) a.push(new Array(1000).fill(7))",
      python: `a = []\nwhile True: a.append([7] * 1000)`,
      bash: `a=x; while :; do a=$a$a; done`,
    },
  },
  {
    id: "F61b",
    title: "lists that outlive the exception",
    ...small,
    status: "memory",
    in: { javascript: "a = []; for (;;) a.push(new Array(1000).fill(7))" },
  },
  {
    id: "F61c",
    title: "objects in one another",
    ...small,
    status: "memory",
    in: { javascript: "a = null; for (;;) a = { a }" },
  },
  {
    id: "F61d",
    title: "an exhaustion that is caught",
    ...small,
    status: "ok",
    in: {
      javascript: {
        code: "a = []; try { for (;;) a.push(new Array(1000).fill(7)) } catch { a = null } 7",
        check: is(7),
        // V8 does not throw for it.
        native: { status: outOfMemory, check: () => undefined },
      },
    },
  },
  {
    id: "F61e",
    title: "exhaustion in a microtask",
    ...small,
    status: ["memory", "error"],
    in: {
      javascript:
        "queueMicrotask(() => { globalThis.a = []; for (;;) a.push(new Array(1000).fill(7)) }); await new Promise(() => {})",
    },
  },
  {
    id: "F62",
    title: "many texts",
    ...small,
    status: "memory",
    in: { javascript: 'const a = []; for (;;) a.push("x".repeat(100_000) + a.length)' },
  },
  {
    id: "F62b",
    title: "one text",
    status: "memory",
    in: {
      javascript: { code: '"x".repeat(2 ** 29)', native: { status: ["error", "memory", "output"] } },
      python: `len("x" * (1 << 30))`,
    },
  },
  {
    id: "F62c",
    title: "buffers",
    ...small,
    status: "memory",
    in: { javascript: "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))" },
  },
  {
    id: "F62d",
    title: "a buffer that grows",
    status: ["memory", "error"],
    in: {
      javascript: {
        code: "const b = new ArrayBuffer(1, { maxByteLength: 2 ** 31 }); b.resize(2 ** 31 - 1); b.byteLength",
        // Memory that nobody touched is none.
        native: { status: ["memory", "error", "ok"] },
      },
    },
  },
  {
    id: "F64",
    title: "a bomb ends at the limit",
    status: "memory",
    in: { python: `a = []\nwhile True: a.append(bytearray(b"x" * (16 << 20)))` },
  },
  {
    id: "F64b",
    title: "a bomb ends at the limit, and its catcher goes on",
    status: "ok",
    in: {
      python: {
        code: `
taken = []
try:
    while True: taken.append(bytearray(b"x" * (16 << 20)))
except MemoryError: pass
size = len(taken)
del taken
size`,
        check: ({ result }) => expect(result).toBeLessThanOrEqual(4),
        native: {
          status: ["ok", "memory"],
          check: ({ status, result }) => expect(status === "memory" || Number(result) <= 16).toBe(true),
        },
      },
    },
  },
  {
    id: "F64c",
    title: "a bomb outside of Python's own memory ends too",
    status: ["memory", "error"],
    in: {
      python: `
import pyodide_js
from pyodide.ffi import to_js
block, taken = b"x" * (8 << 20), []
while True: taken.append(to_js(block))`,
    },
  },
  {
    id: "F65",
    title: "recursion",
    in: {
      javascript: { code: "const f = () => f() + 1; f()", check: says(/call stack/) },
      python: { code: `def f(): f()\nf()`, check: says(/RecursionError/) },
      bash: { code: `f() { f; }; f`, status: ["error", "crashed", "memory", "timeout"], limits: { wallMs: 2_000 } },
    },
  },
  {
    id: "F65b",
    title: "recursion through natives",
    in: { javascript: { code: "const f = () => [1].map(f); f()", check: says(/call stack/) } },
  },
  {
    id: "F65c",
    title: "recursion that is caught, for ever",
    status: ["timeout", "error"],
    limits: { wallMs: 400 },
    in: { javascript: "const f = () => { try { f() } catch { f() } }; f()" },
  },
  {
    id: "F65d",
    title: "recursion in the parser",
    in: {
      javascript: { code: 'eval("(".repeat(1e5))' },
      python: { code: `eval("(" * 100_000)`, status: ["error", "memory"] },
    },
  },
  {
    id: "F65e",
    title: "recursion in the parser of the code itself",
    in: {
      javascript: "[".repeat(200_000),
      python: { code: "[".repeat(200_000), status: ["error", "memory"] },
    },
  },
  { id: "F65f", title: "recursion in JSON", in: { javascript: 'JSON.parse("[".repeat(1e6))' } },
  {
    id: "F65g",
    title: "recursion in the parser of types",
    in: {
      typescript: {
        code: `let a: ${"Array<".repeat(50_000)}1${">".repeat(50_000)}`,
        check: says(/^SyntaxError: The parser/),
      },
    },
  },
  {
    id: "F65h",
    title: "brackets without end",
    in: {
      typescript: {
        code: "(".repeat(100_000),
        check: says(/^SyntaxError: The parser/),
      },
    },
  },
  {
    id: "F65i",
    title: "recursion without the interpreter's own limit ends the interpreter alone",
    status: ["crashed", "error", "memory"],
    in: {
      python: `
import sys
sys.setrecursionlimit(10**9)
def f(): f()
f()`,
    },
  },
  {
    id: "F67",
    title: "a number too large",
    status: ["error", "memory", "timeout"],
    limits: { wallMs: 1_000 },
    in: { javascript: "2n ** (2n ** 40n)", python: `len(str(2 ** (2 ** 40)))` },
  },
  {
    id: "F68",
    title: "a zip bomb",
    status: ["memory", "timeout"],
    limits: { wallMs: 5_000 },
    in: {
      python: `
import zlib
packer = zlib.compressobj(1)
bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
zlib.decompress(bomb)`,
    },
  },
];

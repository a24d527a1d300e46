import { expect } from "vitest";
import { type HostileCase, is, says } from "./case.ts";

const mebibyte = 1024 * 1024;
const short = { limits: { wallMs: 400 } } as const;

/** Class E: processor and time. */
export const time: readonly HostileCase[] = [
  {
    id: "E47",
    title: "a loop",
    status: "timeout",
    ...short,
    in: {
      javascript: "while (1);",
      typescript: "for (let i: number = 0; ; ) i += 1",
      bash: `while :; do :; done`,
    },
  },
  { id: "E48", title: "a loop in Python", status: "timeout", ...short, in: { python: `while True: pass` } },
  {
    id: "E49",
    title: "a loop that catches everything",
    status: "timeout",
    ...short,
    in: {
      javascript: "for (;;) try { for (;;); } catch {}",
      python: `
while True:
    try:
        while True: pass
    except BaseException: pass`,
      bash: `trap '' INT TERM HUP QUIT ALRM XCPU; while :; do :; done`,
    },
  },
  {
    id: "E50",
    title: "a regular expression",
    status: "timeout",
    ...short,
    in: {
      javascript: '/^(a+)+$/.test("a".repeat(40) + "b")',
      python: `import re\nre.match("(a+)+$", "a" * 40 + "b")`,
    },
  },
  {
    id: "E52",
    title: "a native that nothing interrupts",
    status: "timeout",
    limits: { wallMs: 400, memoryBytes: 256 * mebibyte },
    in: {
      javascript: {
        code: "JSON.stringify(new Array(3e6).fill({ a: 1 })).length",
        // V8 is faster: there it may end in time.
        native: { status: ["timeout", "ok", "memory"] },
      },
      python: `sum(range(10 ** 12))`,
    },
  },
  {
    id: "E53",
    title: "a native over a sparse list",
    status: "timeout",
    limits: { wallMs: 400, memoryBytes: 1024 * mebibyte },
    in: {
      javascript: { code: 'Array(2 ** 28).join("ab")', native: { status: ["timeout", "memory", "error"] } },
    },
  },
  {
    id: "E55",
    title: "a storm of microtasks",
    status: "timeout",
    ...short,
    in: {
      javascript: {
        code: "await Promise.resolve().then(function again() { return Promise.resolve().then(again) })",
        // Each of these promises keeps the one before alive, so on a fast machine memory is used up first.
        status: ["timeout", "memory"],
      },
      python: `
import asyncio
async def again(): asyncio.ensure_future(again())
await again()
while True: await asyncio.sleep(0)`,
    },
  },
  {
    id: "E55b",
    title: "code that never returns, met by the writer of results",
    status: "timeout",
    ...short,
    in: {
      javascript: "({ get x() { for (;;); } })",
      python: `
class Evil:
    def __repr__(self):
        while True: pass
Evil()`,
    },
  },
  {
    id: "E56",
    title: "a promise that nothing settles",
    in: {
      javascript: {
        code: "await new Promise(() => {})",
        check: says(/stalled/),
        native: { status: ["error", "crashed", "timeout"], limits: { wallMs: 1_000 }, check: () => undefined },
      },
      python: {
        code: `import asyncio\nawait asyncio.Future()`,
        native: { status: ["error", "timeout"], limits: { wallMs: 1_000 } },
      },
    },
  },
  {
    id: "E56b",
    title: "a thenable that never calls back",
    in: {
      javascript: {
        code: "await { then() {} }",
        check: says(/stalled/),
        native: { status: ["error", "crashed", "timeout"], limits: { wallMs: 1_000 }, check: () => undefined },
      },
    },
  },
  {
    id: "E57",
    title: "sleeping is not forever",
    status: "timeout",
    ...short,
    in: {
      python: `import time\ntime.sleep(60)`,
      javascript: "await new Promise((resolve) => setTimeout(resolve, 60_000))",
      bash: `sleep 60`,
    },
  },
  {
    id: "E58",
    title: "timers and tasks that are left end with the run",
    status: "ok",
    in: {
      javascript: { code: "setInterval(() => {}, 1); setTimeout(() => {}, 1e9); 7", check: is(7) },
      python: {
        code: `
import asyncio
async def forever():
    while True: await asyncio.sleep(0.01)
task = asyncio.ensure_future(forever())
7`,
        check: is(7),
      },
      bash: { code: `(while :; do sleep 0.01; done) & true` },
    },
  },
  {
    id: "E58b",
    title: "timers without end",
    in: {
      javascript: {
        code: "for (;;) setTimeout(() => {}, 1e6)",
        check: says(/Too many timers/),
        native: { status: ["memory", "crashed", "timeout"], limits: { wallMs: 3_000 }, check: () => undefined },
      },
    },
  },
  {
    id: "E58c",
    title: "awaiting under an interval",
    status: "timeout",
    ...short,
    in: { javascript: "setInterval(() => {}, 1); await new Promise(() => {})" },
  },
  {
    id: "E59",
    title: "a daemon does not outlive its run",
    status: "ok",
    in: {
      // The next run, in a sandbox of its own, looks for it among all the processes that it sees.
      python: {
        code: `
import os
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: os.execvp("sleep", ["sleep", "4242"])
        os._exit(0)
except (AttributeError, OSError): pass
1`,
        next: `
import os
found = []
for pid in os.listdir("/proc") if os.path.isdir("/proc") else []:
    try: found.append("4242" in open(f"/proc/{pid}/cmdline").read())
    except OSError: pass
any(found)`,
        check: (_first, next) => expect(next?.result).toBe(false),
      },
      bash: {
        code: `setsid sleep 4242 >/dev/null 2>&1 < /dev/null & disown; true`,
        // The brackets keep the pattern from finding itself.
        next: `cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 424[2]'; true`,
        check: (_first, next) => expect(next?.stdout).toBe("0\n"),
      },
    },
  },
];

import { expect } from "vitest";
import { slowCases } from "../../support/cases.ts";
import { echo, type HostileCase } from "./case.ts";

/** Class J: what one run leaves to the next, which gets a sandbox of its own. */
export const state: readonly HostileCase[] = [
  {
    id: "J91",
    title: "globals and built-ins that a run changed are as they were for the next",
    status: "ok",
    in: {
      javascript: {
        code: `Array.prototype.x = 1; globalThis.tools = globalThis.console = null;
          Object.prototype.toJSON = () => "evil"; Math.random = () => 4; globalThis.left = 1; JSON.stringify = null; 1`,
        next: "[[].x ?? null, typeof JSON.stringify, typeof tools, typeof console.log, {}.toJSON ?? null, Math.random() === 4, typeof left]",
        check: (_first, next) =>
          expect(next?.result).toEqual([null, "function", "object", "function", null, false, "undefined"]),
        native: { status: ["ok", "error", "crashed"] },
      },
      python: {
        code: `
import builtins, json, sys
sys.modules["json"] = None
builtins.open = None
builtins.left = 1
sys.path.insert(0, "/tmp")`,
        next: `
import builtins, json, sys
[json.dumps(1), callable(open), hasattr(builtins, "left"), "/tmp" in sys.path]`,
        check: (_first, next) => expect(next?.result).toEqual(["1", true, false, false]),
      },
      bash: {
        code: `left=1; export left; alias ls=evil; umask 0; true`,
        next: `echo "[$left]"; alias; true`,
        check: (_first, next) => expect(next?.stdout).toBe("[]\n"),
      },
    },
  },
  {
    id: "J92",
    title: "files, folders and settings that a run left are gone for the next",
    status: "ok",
    in: {
      javascript: {
        code: 'files.write("left.txt", "x"); setInterval(() => {}, 1); files.list().length',
        next: "files.list().length",
        check: (first, next) => expect([first.result, next?.result]).toEqual([1, 0]),
        native: {
          code: 'const { writeFileSync } = require("node:fs"); for (const at of ["/tmp/left.txt", "/out/left.txt"]) try { writeFileSync(at, "x") } catch {} 1',
          next: 'const { existsSync } = require("node:fs"); [existsSync("/tmp/left.txt"), existsSync("/out/left.txt")].filter(Boolean).length',
        },
      },
      python: {
        code: `
import os
for path in ("/tmp/left", "/out/left", "/lib/python3.14/site-packages/left.py", "/dev/shm/left"):
    try: open(path, "w").write("x = 1")
    except OSError: pass
os.environ["LEFT"] = "1"
os.umask(0)
os.chdir("/tmp")
1`,
        next: `
import importlib.util, os
[[path for path in ("/tmp/left", "/out/left", "/dev/shm/left") if os.path.exists(path)], importlib.util.find_spec("left"), "LEFT" in os.environ, os.getcwd()]`,
        check: (_first, next) => expect(next?.result).toEqual([[], null, false, "/out"]),
      },
      bash: {
        code: `for at in /tmp/left /out/left /dev/shm/left; do echo x > $at; done 2>/dev/null; cd /tmp; true`,
        next: `ls /tmp/left /out/left /dev/shm/left 2>/dev/null; pwd`,
        check: (_first, next) => expect(next?.stdout).toBe("/out\n"),
      },
    },
  },
  {
    id: "J94",
    title: "no two runs share a seed",
    status: "ok",
    in: {
      javascript: { code: "[Math.random(), Math.random()]", next: "[Math.random(), Math.random()]" },
      python: {
        code: `
import os, random, secrets, uuid
[hash("a"), random.random(), secrets.token_hex(), str(uuid.uuid4()), os.urandom(8).hex()]`,
        next: `
import os, random, secrets, uuid
[hash("a"), random.random(), secrets.token_hex(), str(uuid.uuid4()), os.urandom(8).hex()]`,
      },
      bash: { code: `echo $RANDOM $SRANDOM`, next: `echo $RANDOM $SRANDOM` },
    },
    check: (first, next) => {
      const toValues = (run: typeof next) => (Array.isArray(run?.result) ? run.result : [run?.stdout]);
      const before = toValues(first);
      expect(before.length).toBeGreaterThan(0);
      for (const [index, value] of toValues(next).entries()) expect(value).not.toEqual(before[index]);
    },
  },
  {
    id: "J95",
    title: "the late answer to a call of a run that ended reaches nobody",
    status: "ok",
    request: { onCall: async () => await new Promise((resolve) => setTimeout(resolve, 30, "late")) },
    in: {
      javascript: {
        code: "tools.slow({}); tools.slow({}); 1",
        next: "await new Promise((resolve) => setTimeout(resolve, 60)); await tools.slow({})",
        check: (_first, next) => expect(next?.result).toBe("late"),
      },
      python: {
        code: `
import asyncio
for _ in range(2): asyncio.ensure_future(tools.acall("slow"))
await asyncio.sleep(0)
1`,
        next: `
import asyncio
await asyncio.sleep(0.06)
tools.slow()`,
        check: (_first, next) => expect(next?.result).toBe("late"),
      },
    },
  },
  {
    id: "J96",
    title: "runs at the same time never cross",
    status: "ok",
    copies: Math.min(100, slowCases / 2),
    // As many starts of processes as copies may take longer than one run may.
    limits: { wallMs: 60_000, cpuMs: 60_000 },
    request: { onCall: echo },
    in: {
      javascript: {
        code: `console.log("out COPY"); files.write("mine.txt", "COPY"); (await tools.echo({ id: "COPY" })).id`,
        native: {
          code: `console.log("out COPY"); require("node:fs").writeFileSync("/out/mine.txt", "COPY"); (await tools.echo({ id: "COPY" })).id`,
        },
      },
      python: `print("out COPY")\nopen("mine.txt", "w").write("COPY")\ntools.echo(id="COPY")["id"]`,
    },
    check: ({ stdout, result, artifacts }, _next, copy) => {
      expect([stdout, result]).toEqual([`out ${copy}\n`, `${copy}`]);
      expect(artifacts.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual([`${copy}`]);
    },
  },
];

import type { SessionSnippets } from "./session.ts";

export const pythonSession: SessionSnippets = {
  language: "python",
  begin: `count = 1\ncount`,
  add: `count += 1\ncount`,
  fail: `raise ValueError("boom")`,
  makeFailing: `def failing():\n    raise ValueError("boom")\nfailing()`,
  callFailing: `failing()`,
  places: [
    `File "main.py", line 2, in failing\n    raise ValueError("boom")\n`,
    `File "main-2.py", line 1, in <module>\n    failing()\n`,
  ],
  syntaxError: `def (:`,
  bigResult: `"x" * (1 << 20)`,
  spin: `while True: pass`,
  hoard: `hoarded = globals().get("hoarded", []) + [bytearray(24 << 20)]\n0`,
  read: (path) => `open("/in/${path}", encoding="utf8").read()`,
  write: (path, text) => `with open("/out/${path}", "w") as file: file.write("${text}")`,
  readOutput: (path) => `open("/out/${path}").read()`,
  leaveTicking: `
import asyncio
async def tick():
    global count
    while True:
        count += 1
        await asyncio.sleep(0.001)
ticking = asyncio.create_task(tick())
0`,
  leaveCall: `
import asyncio
left = asyncio.create_task(tools.acall("echo", x=1))
await asyncio.sleep(0.05)
0`,
  call: `tools.echo(x=1)`,
  result: `result = 7`,
  noResult: `seen = result`,
  print: `print("one")`,
};

/** The machine's own Python has threads, and a loop of asyncio only for as long as code awaits. */
export const machinePythonSession: SessionSnippets = {
  ...pythonSession,
  leaveTicking: `
import threading, time
def tick():
    global count
    while True:
        count += 1
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
0`,
  leaveCall: `
import threading, time
def leave():
    global left
    try:
        left = tools.echo(x=1)
    except ToolError as error:
        left = error.code
threading.Thread(target=leave).start()
time.sleep(0.05)
0`,
};

export const scriptSession: SessionSnippets = {
  language: "javascript",
  begin: `var count = 1; count`,
  add: `count += 1`,
  fail: `throw new Error("boom")`,
  makeFailing: `function failing() {\n  throw new Error("boom"); }\nfailing()`,
  callFailing: `failing()`,
  places: ["main.js:2:", "main-2.js:1:"],
  syntaxError: `function (`,
  bigResult: `"x".repeat(1 << 20)`,
  spin: `for (;;);`,
  hoard: `(globalThis.hoarded ??= []).push(new Uint8Array(24 << 20).fill(1)); 0`,
  read: (path) => `files.read("${path}")`,
  write: (path, text) => `files.write("${path}", "${text}")`,
  readOutput: (path) => `files.read("${path}")`,
  leaveTicking: `setInterval(() => { count += 1 }, 1); 0`,
  leaveCall: `tools.echo({ x: 1 }); await new Promise((done) => setTimeout(done, 50)); 0`,
  call: `await tools.echo({ x: 1 })`,
  result: `var seven = 7; seven`,
  noResult: `var seen = seven;`,
  print: `console.log("one")`,
};

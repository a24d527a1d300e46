import { openPython } from "./python.ts";
import { describeSessions } from "./session.ts";

describeSessions("Python", openPython, {
  language: "python",
  begin: `count = 1\ncount`,
  add: `count += 1\ncount`,
  fail: `raise ValueError("boom")`,
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
  print: `print("one")`,
});

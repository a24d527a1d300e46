import type { Snippets } from "./conformance.ts";

/** For every engine that speaks Python, with `/in` and `/out`. */
export const pythonSnippets: Snippets = {
  language: "python",
  print: `import sys\nprint("out")\nprint("err", file=sys.stderr)`,
  json: `{"list": [1, "two", None, True], "deep": {"x": 1.5}}`,
  fail: `raise ValueError("boom")`,
  syntaxError: `def (:`,
  spin: `while True: pass`,
  hog: `taken = []\nwhile True: taken.append(bytearray(1 << 20))`,
  flood: `for _ in range(1024): print("x" * 1023)`,
  nan: `float("nan")`,
  bigResult: `"x" * (1 << 20)`,
  readInput: `open("/in/data/in.txt", encoding="utf8").read()`,
  write: (path, text) => `
import os
path = "/out/" + ${JSON.stringify(path)}
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, "w", encoding="utf8") as file: file.write(${JSON.stringify(text)})
None`,
  callOnce: `tools.echo(x=1)`,
  callFive: `
done = 0
for _ in range(5):
    try:
        await tools.acall("echo", {"x": 1})
        done += 1
    except ToolError:
        pass
done`,
  callCaught: `
try:
    caught = tools.echo()
except ToolError as error:
    caught = str(error)
caught`,
  random: `import random\nrandom.random()`,
  global: `
import builtins
was = hasattr(builtins, "leak")
builtins.leak = True
was`,
};

/** For every engine that speaks JavaScript. */
export const scriptSnippets: Snippets = {
  language: "javascript",
  print: 'console.log("out"); console.error("err");',
  json: '({ list: [1, "two", null, true], deep: { x: 1.5 } })',
  fail: 'throw new TypeError("boom")',
  syntaxError: "let = ;",
  spin: "for (;;);",
  hog: "const kept = []; for (;;) kept.push(new Array(1000).fill(7));",
  flood: 'const line = "x".repeat(1023); for (let i = 0; i < 1024; i++) console.log(line); undefined',
  nan: "NaN",
  bigResult: '"x".repeat(1024 * 1024)',
  readInput: 'files.read("data/in.txt")',
  write: (path, text) => `files.write(${JSON.stringify(path)}, ${JSON.stringify(text)})`,
  callOnce: "await tools.echo({ x: 1 })",
  callFive: "let n = 0; for (let i = 0; i < 5; i++) { try { await tools.echo({}); n++ } catch {} } n",
  callCaught: "let text; try { await tools.echo({ x: 1 }) } catch (error) { text = String(error) } text",
  random: "Math.random()",
  global: 'const before = "leak" in globalThis; globalThis.leak = 1; Array.prototype.leak = 1; before',
};

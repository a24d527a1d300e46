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

import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeEngine } from "./conformance.ts";

describeEngine("quickjs", () => openQuickjsEngine(), {
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
});

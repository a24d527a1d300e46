import { afterAll, expect } from "vitest";
import { openBubblewrapEngine } from "../../src/sandbox/bubblewrap.ts";
import type { Language } from "../../src/sandbox/engine.ts";
import { testWith } from "../support/machine.ts";
import { runIn, testLimits } from "./hostile.ts";

const engine = openBubblewrapEngine();
afterAll(() => engine[Symbol.asyncDispose]());

testWith("bubblewrap")("code imports as a module does, where its imports come first", async () => {
  const never = new AbortController().signal;
  await using session = await engine.open({ language: "javascript", isSession: true }, never);
  const run = async (code: string, language: Language = "javascript") =>
    await session.run({ language, code, files: [], limits: testLimits }, never);

  const statements = `${"/".repeat(100)} /* */ // */
/** A comment. *//* Another one. */${"/**/".repeat(50)}
// A third, and \`import x from "x"\` in it.
import fs, { readFileSync as read,
  existsSync } from "node:fs";
import * as path from 'node:path'
import os, * as all from "os"; import "node:url"
[read === fs.readFileSync, existsSync("/out"), path.join("a", "b"), os === all.default]`;
  expect(await run(statements)).toMatchObject({ status: "ok", result: [true, true, "a/b", true] });
  expect(await run(`import fs from "node:fs"\n[fs.existsSync("/out")]`)).toMatchObject({ result: [true] });
  const typed = `import type { Stats } from "node:fs"; import { type Mode, statSync } from "node:fs";
const isFolder: boolean = statSync("/out").isDirectory(); isFolder`;
  expect(await run(typed, "typescript")).toMatchObject({ result: true });

  await run(`files.write("lib.mjs", "export default 7; export const two = 2"); files.write("list.json", "[1]")`);
  const own = `import seven, { two } from "./lib.mjs"; import list from "/out/list.json" with { type: "json" }; [seven, two, list]`;
  expect(await run(own)).toMatchObject({ result: [7, 2, [1]] });
});

testWith("bubblewrap")(
  "import() is what it is in Node where it is a call, and nothing else looks like one",
  async () => {
    const code = `const path = "node:path";
const same = { import (x) { return x } };
const text = \`import("a") \${(await import(path)).posix.sep} import ("b")\`; // import("c")
[text, "import('d')", same.import(4), /import (e)/.source, await import("./absent.mjs").catch((error) => error.code)]`;
    expect(await runIn(engine, "javascript", code)).toMatchObject({
      status: "ok",
      result: ['import("a") / import ("b")', "import('d')", 4, "import (e)", "ERR_MODULE_NOT_FOUND"],
    });
  },
);

testWith("bubblewrap")("an import that stands too late is refused with a word about its place", async () => {
  const { status, error } = await runIn(engine, "javascript", `1;\nimport os from "node:os";`);
  expect([status, error]).toEqual(["error", expect.stringContaining("Put imports before all other statements")]);
});

testWith("bubblewrap")("a session whose code broke the parser of types goes on with another", async () => {
  const never = new AbortController().signal;
  await using session = await engine.open({ language: "typescript", isSession: true }, never);
  const run = async (code: string) =>
    await session.run({ language: "typescript", code, files: [], limits: testLimits }, never);

  const deep = `let a: ${"Array<".repeat(50_000)}1${">".repeat(50_000)}`;
  const broken = { status: "error", error: expect.stringMatching(/^SyntaxError: The parser of TypeScript failed/) };
  expect(await run(deep)).toMatchObject(broken);
  expect(await run("const x: number = 3; x")).toMatchObject({ status: "ok", result: 3 });
  expect(await run(deep)).toMatchObject(broken);
  expect(await run("enum Color { Red }")).toMatchObject({
    status: "error",
    error: expect.stringMatching(/^SyntaxError: .*enum/),
  });
  expect(await run("const y = x as number; y + 1")).toMatchObject({ status: "ok", result: 4 });
});

import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeSessions } from "./session.ts";

describeSessions("JavaScript", openQuickjsEngine, {
  language: "javascript",
  begin: `var count = 1; count`,
  add: `count += 1`,
  fail: `throw new Error("boom")`,
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
  print: `console.log("one")`,
});

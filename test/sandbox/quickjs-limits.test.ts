import { expect } from "vitest";
import { describeScripts, is, says } from "./javascript.ts";
import type { ScriptCase } from "./javascript.ts";

const mebibyte = 1024 * 1024;

const time: readonly ScriptCase[] = [
  { id: "E47", title: "a loop", code: "while (1);", status: "timeout" },
  {
    id: "E47",
    title: "a loop that catches everything",
    code: "for (;;) try { for (;;); } catch {}",
    status: "timeout",
  },
  { id: "E50", title: "a regular expression", code: '/^(a+)+$/.test("a".repeat(40) + "b")', status: "timeout" },
  {
    id: "E52",
    title: "a native that nothing interrupts",
    code: "JSON.stringify(new Array(3e6).fill({ a: 1 })).length",
    status: "timeout",
    limits: { memoryBytes: 256 * mebibyte },
  },
  {
    id: "E53",
    title: "a native over a sparse list",
    code: 'Array(2 ** 28).join("ab")',
    status: "timeout",
    limits: { memoryBytes: 1024 * mebibyte },
  },
  {
    id: "E55",
    title: "a storm of microtasks",
    code: "await Promise.resolve().then(function again() { return Promise.resolve().then(again) })",
    status: "timeout",
  },
  {
    id: "E56",
    title: "a promise that nothing settles",
    code: "await new Promise(() => {})",
    status: "error",
    check: ({ error, usage }) => {
      expect(error).toMatch(/stalled/);
      expect(usage.wallMs).toBeLessThan(250);
    },
  },
  {
    id: "E56",
    title: "a thenable that never calls back",
    code: "await { then() {} }",
    status: "error",
    check: says(/stalled/),
  },
  {
    id: "E58",
    title: "an interval left running",
    code: "setInterval(() => {}, 1); setTimeout(() => {}, 1e9); 7",
    status: "ok",
    check: is(7),
  },
  {
    id: "E58",
    title: "timers without end",
    code: "for (;;) setTimeout(() => {}, 1e6)",
    status: "error",
    check: says(/Too many timers/),
  },
  {
    id: "E58",
    title: "awaiting under an interval",
    code: "setInterval(() => {}, 1); await new Promise(() => {})",
    status: "timeout",
  },
  {
    id: "E55",
    title: "a getter that never returns, met by the writer of results",
    code: "({ get x() { for (;;); } })",
    status: "timeout",
  },
];

const memory: readonly ScriptCase[] = [
  { id: "F61", title: "lists", code: "const a = []; for (;;) a.push(new Array(1000).fill(7))", status: "memory" },
  {
    id: "F61",
    title: "lists that outlive the exception",
    code: "a = []; for (;;) a.push(new Array(1000).fill(7))",
    status: "memory",
  },
  { id: "F61", title: "objects in one another", code: "a = null; for (;;) a = { a }", status: "memory" },
  {
    id: "F62",
    title: "many texts",
    code: 'const a = []; for (;;) a.push("x".repeat(100_000) + a.length)',
    status: "memory",
  },
  { id: "F62", title: "one text", code: '"x".repeat(2 ** 29)', status: "memory" },
  {
    id: "F62",
    title: "buffers",
    code: "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1))",
    status: "memory",
  },
  {
    id: "F62",
    title: "a buffer that grows",
    code: "const b = new ArrayBuffer(1, { maxByteLength: 2 ** 31 }); b.resize(2 ** 31 - 1); b.byteLength",
    status: ["memory", "error"],
  },
  {
    id: "F61",
    title: "an exhaustion that is caught",
    code: "a = []; try { for (;;) a.push(new Array(1000).fill(7)) } catch { a = null } 7",
    status: "ok",
    check: is(7),
  },
  {
    id: "F61",
    title: "exhaustion in a microtask",
    code: "queueMicrotask(() => { globalThis.a = []; for (;;) a.push(new Array(1000).fill(7)) }); await new Promise(() => {})",
    status: ["memory", "error"],
  },
  { id: "F65", title: "recursion", code: "const f = () => f() + 1; f()", status: "error", check: says(/call stack/) },
  {
    id: "F65",
    title: "recursion through natives",
    code: "const f = () => [1].map(f); f()",
    status: "error",
    check: says(/call stack/),
  },
  {
    id: "F65",
    title: "recursion that is caught, for ever",
    code: "const f = () => { try { f() } catch { f() } }; f()",
    status: ["timeout", "error"],
    limits: { wallMs: 400 },
  },
  { id: "F65", title: "recursion in the parser", code: 'eval("(".repeat(1e5))', status: "error" },
  { id: "F65", title: "recursion in the parser of the code itself", code: "[".repeat(200_000), status: "error" },
  { id: "F65", title: "recursion in JSON", code: 'JSON.parse("[".repeat(1e6))', status: "error" },
  { id: "F67", title: "a number without end", code: "2n ** (2n ** 40n)", status: ["error", "memory"] },
];

const typescript: readonly ScriptCase[] = [
  {
    language: "typescript",
    id: "F65",
    title: "recursion in the parser of types",
    code: `let a: ${"Array<".repeat(50_000)}1${">".repeat(50_000)}`,
    status: "error",
    check: says(/^SyntaxError: The parser/),
  },
  {
    language: "typescript",
    id: "F65",
    title: "brackets without end",
    code: "(".repeat(100_000),
    status: "error",
    check: says(/^SyntaxError: The parser/),
  },
  {
    language: "typescript",
    id: "A1",
    title: "what has no meaning without a compiler",
    code: "enum Color { Red } Color.Red",
    status: "error",
    check: says(/^SyntaxError: .*enum/s),
  },
  {
    language: "typescript",
    id: "E47",
    title: "a loop",
    code: "for (let i: number = 0; ; ) i += 1",
    status: "timeout",
    limits: { wallMs: 400 },
  },
];

const short = time.map((one) => ({ ...one, limits: { wallMs: 400, ...one.limits } }));
describeScripts("time and memory", [...short, ...memory, ...typescript]);

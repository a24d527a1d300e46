import childProcess from "node:child_process";
import { randomFillSync } from "node:crypto";
import dgram from "node:dgram";
import dns from "node:dns";
import dnsPromises from "node:dns/promises";
import { registerHooks, syncBuiltinESMExports } from "node:module";
import net from "node:net";

// Kept from before `hideNode`; see pipes.ts for why it is not imported.
const { process } = globalThis;

/** Of the global names of Node, those that Pyodide finds: JavaScript's own, and what it asks a browser for. */
const keptGlobals = new Set(
  `
  globalThis Object Function Array Number Boolean String Symbol BigInt Math JSON parseFloat parseInt isNaN
  isFinite NaN Infinity undefined Reflect Proxy Date RegExp Promise Map Set WeakMap WeakSet WeakRef
  FinalizationRegistry Iterator Error AggregateError EvalError RangeError ReferenceError SyntaxError
  TypeError URIError ArrayBuffer SharedArrayBuffer Atomics DataView Int8Array Uint8Array Uint8ClampedArray
  Int16Array Uint16Array Int32Array Uint32Array BigInt64Array BigUint64Array Float32Array Float64Array
  WebAssembly TextDecoder TextEncoder AbortController URL decodeURI decodeURIComponent encodeURI
  encodeURIComponent escape unescape
`
    .trim()
    .split(/\s+/),
);

/** What `process` offers beyond what Node itself still needs of it. */
const lockedOfProcess = `
  binding _linkedBinding dlopen getBuiltinModule loadEnvFile kill _kill abort chdir umask setuid seteuid
  setgid setegid setgroups initgroups report execve mainModule stdin stdout stderr openStdin reallyExit exit
  _debugProcess _debugEnd _rawDebug _startProfilerIdleNotifier _stopProfilerIdleNotifier _getActiveHandles
  _getActiveRequests
`
  .trim()
  .split(/\s+/);

/**
 * Pyodide in Node reaches for fs, net, child_process and ws, and hands them to Python. So it meets no Node here, but what looks to it
 * like a browser's worker with nothing in it: what it can't find it can't hand on.
 */
export function hideNode(): void {
  const { performance, setImmediate, setTimeout, clearTimeout } = globalThis;
  const timers = new Map<number, NodeJS.Timeout>();
  let lastTimer = 0;
  for (const name of Reflect.ownKeys(globalThis)) {
    if (!keptGlobals.has(String(name))) Reflect.deleteProperty(globalThis, name);
  }
  const silent = () => undefined;
  Object.assign(globalThis, {
    self: globalThis,
    WorkerGlobalScope: Object,
    location: "file:///pyodide/",
    console: { log: silent, warn: silent, error: silent, info: silent, debug: silent },
    performance: { now: () => performance.now() },
    crypto: { getRandomValues: (view: Uint8Array) => randomFillSync(view) },
    /** As in a browser, a timer is a number: Node's own object would lead back to Node. */
    setTimeout(callback: () => void, delayMs = 0): number {
      lastTimer += 1;
      if (delayMs < 1) setImmediate(() => callback());
      else
        timers.set(
          lastTimer,
          setTimeout(() => callback(), delayMs),
        );
      return lastTimer;
    },
    clearTimeout(timer: number): void {
      clearTimeout(timers.get(timer));
      timers.delete(timer);
    },
  });
}

/**
 * Takes from this process what it needs no more, before any code of the guest. No flag of Node 24 denies the network, so where there is
 * no bubblewrap these stubs are all that does; code that breaks out of V8 passes them.
 */
export function seal(): void {
  const refuse = () => {
    throw new Error("This is not available in the sandbox.");
  };
  registerHooks({ resolve: refuse, load: refuse });
  for (const api of [net, dgram, dns, dnsPromises, childProcess]) disarm(api, refuse);
  syncBuiltinESMExports();
  for (const name of lockedOfProcess) Object.defineProperty(process, name, { configurable: false, value: undefined });
  Object.defineProperty(process, "env", { configurable: false, value: Object.create(null) });
  for (const name of ["fetch", "URL", "WorkerGlobalScope", "location"]) Reflect.deleteProperty(globalThis, name);
  // A trace would show where on this machine Capstan lies.
  Object.defineProperty(Error, "stackTraceLimit", { configurable: false, writable: false, value: 0 });
}

/** Makes every function of a module of Node, and every method of its classes, refuse. */
function disarm(api: object, refuse: () => never): void {
  for (const [name, value] of Object.entries(api)) {
    if (typeof value !== "function") continue;
    const prototype: unknown = Reflect.get(value, "prototype");
    if (typeof prototype === "object" && prototype !== null) {
      for (const [method, { value: own }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
        if (typeof own === "function")
          Reflect.defineProperty(prototype, method, { configurable: false, value: refuse });
      }
    }
    Reflect.set(api, name, refuse);
  }
}

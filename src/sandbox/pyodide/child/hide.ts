import { randomFillSync } from "node:crypto";

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

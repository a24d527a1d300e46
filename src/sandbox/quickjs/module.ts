import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { CapstanError } from "../../core/error.ts";
import { trimBinary } from "../wasm-binary.ts";

const mebibyte = 1024 * 1024;
const pageBytes = 64 * 1024;
const smallestBytes = 16 * mebibyte;
const largestBytes = 4096 * mebibyte;
/** What the library calls. The interpreter exports 400 functions more, and wiring them takes half of the time of a start. */
const neededExports = /^(?:memory|_initialize|(?:qjs|wasm)_\w+)$/;

/** What this file uses of a global that TypeScript declares with the DOM only. */
declare const WebAssembly: { compile(binary: Uint8Array): Promise<CompiledModule> };

/** A WebAssembly.Module. Threads share its code. */
export type CompiledModule = object;

export interface BoundedModule {
  readonly module: CompiledModule;
  /** The linear memory of an instance never grows beyond this. */
  readonly maxBytes: number;
}

/**
 * Compiles the interpreter with a maximum on its memory, which V8 enforces: the interpreter's own limit counts its allocations, and
 * this one holds whatever they are. Throws `sandbox.unavailable`. Maxima are powers of two, so that a process compiles few modules; each is compiled once.
 */
export function openModules(): (memoryBytes: number) => Promise<BoundedModule> {
  const modules = new Map<number, Promise<BoundedModule>>();
  return (memoryBytes) => {
    const maxBytes = Math.min(largestBytes, 2 ** Math.ceil(Math.log2(Math.max(smallestBytes, memoryBytes))));
    const found = modules.get(maxBytes) ?? compile(maxBytes);
    modules.set(maxBytes, found);
    found.catch(() => modules.delete(maxBytes));
    return found;
  };
}

async function compile(maxBytes: number): Promise<BoundedModule> {
  try {
    const binary = await readFile(createRequire(import.meta.url).resolve("quickjs-wasi/quickjs.wasm"));
    const trimmed = trimBinary(binary, {
      isNeeded: (name) => neededExports.test(name),
      maxPages: maxBytes / pageBytes,
    });
    return { module: await WebAssembly.compile(trimmed), maxBytes };
  } catch (cause) {
    const text = "The JavaScript interpreter (quickjs-wasi) can't be read. Install the dependencies again: npm ci.";
    throw new CapstanError("sandbox.unavailable", text, { cause });
  }
}

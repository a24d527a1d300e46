import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { CapstanError } from "../../core/error.ts";

const mebibyte = 1024 * 1024;
const pageBytes = 64 * 1024;
const smallestBytes = 16 * mebibyte;
const largestBytes = 4096 * mebibyte;
/** Of a WebAssembly binary (core specification 2.0, 5.5.2): the id of the section that declares memories. */
const memorySection = 5;
const headerBytes = 8;

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
    return { module: await WebAssembly.compile(withMaximum(binary, maxBytes / pageBytes)), maxBytes };
  } catch (cause) {
    const text = "The JavaScript interpreter (quickjs-wasi) can't be read. Install the dependencies again: npm ci.";
    throw new CapstanError("sandbox.unavailable", text, { cause });
  }
}

/** The binary with its one memory limited to `pages`; the minimum stays. */
function withMaximum(binary: Uint8Array, pages: number): Uint8Array {
  for (let at = headerBytes; at < binary.length;) {
    const size = readUnsigned(binary, at + 1);
    const end = size.next + size.value;
    if (binary[at] === memorySection) {
      // One memory, with limits of the form 0 (a minimum alone) or 1 (a minimum and a maximum).
      const minimum = readUnsigned(binary, size.next + 2);
      const body = [1, 1, ...toUnsigned(minimum.value), ...toUnsigned(pages)];
      const section = [memorySection, ...toUnsigned(body.length), ...body];
      return Buffer.concat([binary.subarray(0, at), Uint8Array.from(section), binary.subarray(end)]);
    }
    at = end;
  }
  throw new TypeError("The interpreter's binary declares no memory.");
}

/** LEB128, as the binary format writes sizes. */
function readUnsigned(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at] ?? 0;
    at += 1;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value: value >>> 0, next: at };
  }
}

function toUnsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...toUnsigned(value >>> 7)];
}

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { CapstanError } from "../../core/error.ts";

const mebibyte = 1024 * 1024;
const pageBytes = 64 * 1024;
const smallestBytes = 16 * mebibyte;
const largestBytes = 4096 * mebibyte;
/** Of a WebAssembly binary (core specification 2.0, 5.5.2): the ids of the sections that declare memories and exports. */
const memorySection = 5;
const exportSection = 7;
const headerBytes = 8;
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
    return { module: await WebAssembly.compile(bound(binary, maxBytes / pageBytes)), maxBytes };
  } catch (cause) {
    const text = "The JavaScript interpreter (quickjs-wasi) can't be read. Install the dependencies again: npm ci.";
    throw new CapstanError("sandbox.unavailable", text, { cause });
  }
}

/** The binary with its one memory limited to `pages` (the minimum stays), and without the exports that nobody needs. */
function bound(binary: Uint8Array, pages: number): Uint8Array {
  const parts = [binary.subarray(0, headerBytes)];
  const found = new Set<number>();
  for (let at = headerBytes; at < binary.length;) {
    const id = binary[at] ?? 0;
    const size = readUnsigned(binary, at + 1);
    const end = size.next + size.value;
    const body = binary.subarray(size.next, end);
    const changed = id === memorySection ? toMemories(body, pages) : id === exportSection ? toExports(body) : undefined;
    if (changed === undefined) parts.push(binary.subarray(at, end));
    else parts.push(Uint8Array.from([id, ...toUnsigned(changed.length)]), changed);
    found.add(id);
    at = end;
  }
  if (found.has(memorySection) && found.has(exportSection)) return Buffer.concat(parts);
  throw new TypeError("The interpreter's binary declares no memory or no exports.");
}

/** One memory, with limits of the form 0 (a minimum alone) or 1 (a minimum and a maximum). */
function toMemories(body: Uint8Array, pages: number): Uint8Array {
  return Uint8Array.from([1, 1, ...toUnsigned(readUnsigned(body, 2).value), ...toUnsigned(pages)]);
}

/** Each export is a name, the kind of a thing, and its number. */
function toExports(body: Uint8Array): Uint8Array {
  const count = readUnsigned(body, 0);
  const kept: Uint8Array[] = [];
  for (let at = count.next, index = 0; index < count.value; index += 1) {
    const length = readUnsigned(body, at);
    const nameEnd = length.next + length.value;
    const end = readUnsigned(body, nameEnd + 1).next;
    const name = Buffer.from(body.subarray(length.next, nameEnd)).toString();
    if (neededExports.test(name)) kept.push(body.subarray(at, end));
    at = end;
  }
  return Buffer.concat([Uint8Array.from(toUnsigned(kept.length)), ...kept]);
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

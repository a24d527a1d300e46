import { MAX_STACK_SIZE, QuickJS } from "quickjs-wasi";
import type { QuickJSOptions } from "quickjs-wasi";
import type { RunMessage } from "./protocol.ts";

const mebibyte = 1024 * 1024;
/** What the interpreter's allocations leave of its memory, for its stack, its data and the gaps between blocks. */
const overheadBytes = 3 * mebibyte;
/** WASI preview 1: the id of the wall clock, and the error of a file descriptor that is not open. */
const realtimeClock = 0;
const badDescriptor = 8;

export interface Instance {
  readonly vm: QuickJS;
  /** The size of its linear memory, which never shrinks. */
  readonly memoryBytes: () => number;
}

/**
 * A new interpreter within the limits of a run: nothing of it was ever used, and nothing uses it again. It has no file descriptors and
 * knows the time in UTC.
 */
export async function openInstance(
  { module, maxBytes, limits }: Pick<RunMessage, "module" | "maxBytes" | "limits">,
  onUnhandledRejection: NonNullable<QuickJSOptions["onUnhandledRejection"]>,
): Promise<Instance> {
  let memory: { readonly buffer: ArrayBuffer } = { buffer: new ArrayBuffer(0) };
  let isBooting = true;
  const vm = await QuickJS.create({
    wasm: module,
    memoryLimit: Math.min(limits.memoryBytes, maxBytes - overheadBytes),
    maxStackSize: MAX_STACK_SIZE,
    timezoneOffset: 0,
    onUnhandledRejection,
    wasi: (given: { readonly buffer: ArrayBuffer }) => {
      memory = given;
      return {
        clock_time_get(clock: number, _precision: bigint, at: number) {
          // The interpreter seeds Math.random with the wall clock when it starts, and two may start in the same millisecond.
          const now = isBooting && clock === realtimeClock ? randomTime() : BigInt(Date.now()) * 1_000_000n;
          new DataView(given.buffer).setBigUint64(at, now, true);
          return 0;
        },
        // The default writes to the output of this process.
        fd_write: () => badDescriptor,
      };
    },
  });
  isBooting = false;
  return { vm, memoryBytes: () => memory.buffer.byteLength };
}

/** 63 random bits in the place of nanoseconds since the epoch. */
function randomTime(): bigint {
  return (crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n) >> 1n;
}

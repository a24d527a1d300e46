import { MAX_STACK_SIZE, QuickJS } from "quickjs-wasi";
import type { QuickJSOptions } from "quickjs-wasi";
import type { BoundedModule, CompiledModule } from "./module.ts";
import type { RunMessage } from "./protocol.ts";

const mebibyte = 1024 * 1024;
/** What the interpreter's allocations leave of its memory, for its stack, its data and the gaps between blocks. */
const overheadBytes = 3 * mebibyte;
/** By how much the allocator of the interpreter grows the memory, at least. See `growInSteps`. */
const growBytes = 2 * mebibyte;
/** WASI preview 1: the id of the wall clock, and the error of a file descriptor that is not open. */
const realtimeClock = 0;
const badDescriptor = 8;

export interface Instance {
  readonly vm: QuickJS;
  /** From now on it takes its memory in large steps. What our own code in it needs goes ahead, for most runs need little more. */
  readonly growInSteps: () => void;
  /** The size of its linear memory, which never shrinks. */
  readonly memoryBytes: () => number;
}

type Spec = Pick<RunMessage, "maxBytes" | "limits">;
type OnRejection = NonNullable<QuickJSOptions["onUnhandledRejection"]>;

/** New interpreters within the limits of a run: nothing of one was ever used, and nothing uses it again. */
export interface Instances {
  /** Takes the module of a maximum, before an interpreter with that maximum is opened. */
  readonly add: (bounded: BoundedModule) => void;
  readonly open: (spec: Spec, onUnhandledRejection: OnRejection) => Promise<Instance>;
  /** Starts one for a run like the last, so that the next finds it. */
  readonly prepare: () => void;
}

/** Starting one takes longer than many a run, so one may be started while nothing runs. */
export function openInstances(): Instances {
  const modules = new Map<number, CompiledModule>();
  const start = (spec: Spec): ReturnType<typeof startInstance> => startInstance(spec, modules.get(spec.maxBytes));
  let last: Spec | undefined;
  let prepared: { readonly spec: Spec; readonly started: ReturnType<typeof startInstance> } | undefined;
  return {
    add: ({ module, maxBytes }) => void modules.set(maxBytes, module),
    async open(spec, onUnhandledRejection) {
      const isLike = prepared?.spec.maxBytes === spec.maxBytes && toMemoryLimit(prepared.spec) === toMemoryLimit(spec);
      const started = (isLike ? prepared?.started : undefined) ?? start(spec);
      [last, prepared] = [spec, undefined];
      const { begin, ...instance } = await started;
      begin(onUnhandledRejection);
      return instance;
    },
    prepare() {
      if (last === undefined) return;
      prepared = { spec: last, started: start(last) };
      // The run that finds it is told.
      prepared.started.catch(() => {});
    },
  };
}

const toMemoryLimit = ({ maxBytes, limits }: Spec): number => Math.min(limits.memoryBytes, maxBytes - overheadBytes);

/** It has no file descriptors and knows the time in UTC. */
async function startInstance(
  spec: Spec,
  wasm: CompiledModule | undefined,
): Promise<Instance & { readonly begin: (onRejection: OnRejection) => void }> {
  let memory: { readonly buffer: ArrayBuffer } = { buffer: new ArrayBuffer(0) };
  let isBooting = true;
  /** The time of `performance.now()` begins with the run. */
  let waitedMs = 0;
  let onUnhandledRejection: OnRejection = () => {};
  const forward: OnRejection = (promise, reason, isHandled) => onUnhandledRejection(promise, reason, isHandled);
  const vm = await QuickJS.create({
    wasm,
    memoryLimit: toMemoryLimit(spec),
    maxStackSize: MAX_STACK_SIZE,
    timezoneOffset: 0,
    onUnhandledRejection: forward,
    wasi: (given: { readonly buffer: ArrayBuffer }) => {
      memory = given;
      return {
        clock_time_get(clock: number, _precision: bigint, at: number) {
          // The interpreter seeds Math.random with the wall clock when it starts, and two may start in the same millisecond.
          const isReal = clock === realtimeClock;
          const now = isBooting && isReal ? randomTime() : BigInt(Date.now() - (isReal ? 0 : waitedMs)) * 1_000_000n;
          new DataView(given.buffer).setBigUint64(at, now, true);
          return 0;
        },
        // The default writes to the output of this process.
        fd_write: () => badDescriptor,
      };
    },
  });
  isBooting = false;
  const startedAt = Date.now();
  return {
    vm,
    growInSteps: () => growInSteps(memory.buffer),
    memoryBytes: () => memory.buffer.byteLength,
    begin(onRejection) {
      onUnhandledRejection = onRejection;
      waitedMs = Date.now() - startedAt;
    },
  };
}

/** 63 random bits in the place of nanoseconds since the epoch. */
function randomTime(): bigint {
  return (crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n) >> 1n;
}

/**
 * V8 counts a WebAssembly memory that has grown as new, and collects garbage: by 64 KiB at a time, filling 256 MiB took a worker and its
 * helpers 17 s of processor time, by 2 MiB it takes 2. The step is a parameter of dlmalloc (`mparams`: page size, granularity, thresholds for
 * mapping and trimming, flags), which the pinned binary keeps in its static data and offers no way to set.
 */
function growInSteps(memory: ArrayBuffer): void {
  const words = new Uint32Array(memory);
  parameters ??= findParameters(words);
  words[parameters + 1] = growBytes;
}

/** Where they begin, the same in every instance. */
let parameters: number | undefined;

function findParameters(words: Uint32Array): number {
  const [page, none] = [65_536, 0xffffffff];
  const asBuilt = [page, page, none, none, 0];
  for (let at = words.indexOf(page); at >= 0; at = words.indexOf(page, at + 1)) {
    if (asBuilt.every((word, index) => words[at + index] === word)) return at;
  }
  throw new TypeError("The allocator of the interpreter is not that of the pinned version.");
}

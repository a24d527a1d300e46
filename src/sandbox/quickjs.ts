import type { Worker } from "node:worker_threads";
import { CapstanError } from "../core/error.ts";
import { demandAble, type Engine, type ExecRequest, type ExecResult, type Isolation, type Sandbox } from "./engine.ts";
import { demandPaths } from "./guest-path.ts";
import { openModules } from "./quickjs/module.ts";
import { toOutputBuffer } from "./quickjs/output.ts";
import type { OutputBuffer } from "./quickjs/output.ts";
import { openWorkerPool } from "./quickjs/pool.ts";
import type { WorkerPool } from "./quickjs/pool.ts";
import { superviseRun } from "./quickjs/supervise.ts";
import type { Supervised } from "./quickjs/supervise.ts";

const isolation: Isolation = {
  engine: "quickjs",
  level: "wasm-in-thread",
  network: "the interpreter has no function that reaches a network",
};

/**
 * JavaScript and TypeScript in QuickJS, compiled to WebAssembly: a new interpreter for each run, in a worker thread that is ended from
 * outside when its time is up. Up to `workers` guests at a time (default 2) get a thread at once, see pool.ts; the first is made by the first run.
 */
export function openQuickjsEngine(options: { readonly workers?: number } = {}): Engine {
  const moduleFor = openModules();
  const pool = openWorkerPool({ size: options.workers ?? 2 });
  const outputs = new WeakMap<Worker, OutputBuffer>();
  let runs = 0;
  const supervise = async (worker: Worker, request: ExecRequest, signal: AbortSignal): Promise<Supervised> => {
    const bounded = await moduleFor(request.limits.memoryBytes);
    const output = toOutputBuffer(request.limits.outputBytes, outputs.get(worker));
    outputs.set(worker, output);
    return await superviseRun({ worker, bounded, output, run: (runs += 1), request, signal, onWait: pool.wait });
  };
  const engine: Engine = {
    name: isolation.engine,
    level: isolation.level,
    languages: ["javascript", "typescript"],
    can: { sessions: false, network: false },
    async probe() {
      try {
        await moduleFor(0);
        return null;
      } catch {
        return {
          reason: "the interpreter quickjs-wasi can't be read",
          remedy: "Install the dependencies again: npm ci.",
        };
      }
    },
    async open(spec, signal) {
      demandAble(engine, spec);
      return openSandbox(await pool.take(signal), pool, supervise);
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
  return engine;
}

function openSandbox(
  worker: Worker,
  pool: WorkerPool,
  supervise: (worker: Worker, request: ExecRequest, signal: AbortSignal) => Promise<Supervised>,
): Sandbox {
  const disposed = new AbortController();
  let running: Promise<ExecResult> | undefined;
  const runOnce = async (request: ExecRequest, signal: AbortSignal): Promise<ExecResult> => {
    let isReusable = false;
    try {
      const ended = await supervise(worker, request, AbortSignal.any([signal, disposed.signal]));
      ({ isReusable } = ended);
      return { ...ended.result, isolation };
    } finally {
      await pool.give(worker, isReusable);
    }
  };
  return {
    async run(request, signal) {
      if (running !== undefined || disposed.signal.aborted) {
        throw new CapstanError("sandbox.bad_request", "A sandbox runs once. Open another one for the next code.");
      }
      demandPaths(request.files);
      running = runOnce(request, signal);
      return await running;
    },
    async [Symbol.asyncDispose]() {
      if (disposed.signal.aborted) return;
      disposed.abort();
      if (running === undefined) await pool.give(worker, true);
      else await running.catch(() => {});
    },
  };
}

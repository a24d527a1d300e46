import type { Worker } from "node:worker_threads";
import { CapstanError } from "../core/error.ts";
import {
  demandAble,
  type Engine,
  type ExecRequest,
  type ExecResult,
  goesOn,
  type Isolation,
  type Sandbox,
} from "./engine.ts";
import { demandPaths } from "./guest-path.ts";
import { openModules } from "./quickjs/module.ts";
import { toOutputBuffer } from "./quickjs/output.ts";
import type { OutputBuffer } from "./quickjs/output.ts";
import type { ModuleMessage } from "./quickjs/protocol.ts";
import { openWorkerPool } from "./quickjs/pool.ts";
import type { WorkerPool } from "./quickjs/pool.ts";
import { superviseRun } from "./quickjs/supervise.ts";
import type { Supervised } from "./quickjs/supervise.ts";

const isolation: Isolation = {
  engine: "quickjs",
  level: "wasm-in-thread",
  network: "the interpreter has no function that reaches a network",
};

type Supervise = (worker: Worker, request: ExecRequest, signal: AbortSignal) => Promise<Supervised>;

/**
 * JavaScript and TypeScript in QuickJS, compiled to WebAssembly: a new interpreter for each run or session, in a worker thread that is ended from
 * outside when its time is up. Up to `workers` guests at a time (default 2) get a thread at once, see pool.ts; the first is made by the first run.
 */
export function openQuickjsEngine(options: { readonly workers?: number } = {}): Engine {
  const moduleFor = openModules();
  const pool = openWorkerPool({ size: options.workers ?? 2 });
  const outputs = new WeakMap<Worker, OutputBuffer>();
  /** The maxima of the modules that a worker has. */
  const given = new WeakMap<Worker, Set<number>>();
  let runs = 0;
  const openSupervise =
    (isSession: boolean): Supervise =>
    async (worker, request, signal) => {
      const bounded = await moduleFor(request.limits.memoryBytes);
      const { maxBytes } = bounded;
      const has = given.get(worker) ?? new Set();
      if (!has.has(maxBytes)) worker.postMessage({ type: "module", ...bounded } satisfies ModuleMessage);
      given.set(worker, has.add(maxBytes));
      const output = toOutputBuffer(request.limits.outputBytes, outputs.get(worker));
      outputs.set(worker, output);
      return await superviseRun({
        worker,
        maxBytes,
        output,
        run: (runs += 1),
        request,
        isSession,
        signal,
        onWait: pool.wait,
      });
    };
  const engine: Engine = {
    name: isolation.engine,
    level: isolation.level,
    languages: ["javascript", "typescript"],
    can: { sessions: true, network: false },
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
      const { isSession = false } = spec;
      return openSandbox(await pool.take(signal), isSession, pool, openSupervise(isSession));
    },
    [Symbol.asyncDispose]: () => pool[Symbol.asyncDispose](),
  };
  return engine;
}

function openSandbox(worker: Worker, isSession: boolean, pool: WorkerPool, supervise: Supervise): Sandbox {
  const disposed = new AbortController();
  let running: Promise<ExecResult> | undefined;
  let state: "unused" | "running" | "frozen" | "over" = "unused";
  const runNow = async (request: ExecRequest, signal: AbortSignal): Promise<ExecResult> => {
    let isLeft = false;
    let isReusable = false;
    try {
      const ended = await supervise(worker, request, AbortSignal.any([signal, disposed.signal]));
      ({ isReusable } = ended);
      isLeft = isSession && isReusable && goesOn(ended.result.status);
      return { ...ended.result, isolation, ...(isSession && !isLeft ? { isOver: true } : {}) };
    } finally {
      state = isLeft ? "frozen" : "over";
      if (isLeft) freeze(true);
      else await pool.give(worker, isReusable && !isSession);
    }
  };
  /** Between its runs a session leaves its turn to others, and does not keep the process alive. */
  const freeze = (isFrozen: boolean): void => {
    pool.wait(isFrozen ? 1 : -1);
    if (isFrozen) worker.unref();
    else worker.ref();
  };
  return {
    async run(request, signal) {
      if (state === "running" || state === "over" || disposed.signal.aborted) {
        const text =
          "A sandbox runs once, and that of a session one run after the other until it is over. Open another one.";
        throw new CapstanError("sandbox.bad_request", text);
      }
      demandPaths([...request.files, ...(request.outFiles ?? [])]);
      if (state === "frozen") freeze(false);
      state = "running";
      running = runNow(request, signal);
      return await running;
    },
    async [Symbol.asyncDispose]() {
      if (state === "running") {
        disposed.abort();
        await running?.catch(() => {});
      }
      const last = state;
      if (last === "over") return;
      state = "over";
      if (last === "frozen") freeze(false);
      await pool.give(worker, last === "unused");
    },
  };
}

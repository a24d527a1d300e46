import { Worker } from "node:worker_threads";
import { availableParallelism } from "node:os";
import { CapstanError } from "../../core/error.ts";

/** The worker's own JavaScript heap, beside the guest's memory: results, artifacts, and the reading of TypeScript. */
const resourceLimits = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 16, stackSizeMb: 8 };

/** Starting a worker takes 50 ms, and most runs less: a guest waits so long for one that others use before it gets another. */
const patienceMs = 25;
/** A worker that had nothing to do for so long is ended; it keeps some 10 MB. */
const defaultIdleMs = 60_000;

const closed = "The JavaScript engine is closed. Open another Capstan.";

/** Workers that are ready, made when they are first needed. */
export interface WorkerPool extends AsyncDisposable {
  /** A worker of one's own, in its turn. Throws `sandbox.unavailable` once the pool is closed, or the signal's reason. */
  readonly take: (signal: AbortSignal) => Promise<Worker>;
  /** Gives a worker back: for the next run where it is clean, else to be ended. Resolves when it ended or is kept. */
  readonly give: (worker: Worker, isClean: boolean) => Promise<void>;
  /** Says that a guest began (1) or ended (-1) to wait for the host: it leaves its turn to others, so that nested runs end. */
  readonly wait: (change: 1 | -1) => void;
}

interface Started {
  readonly worker: Worker;
  /** Ends it where it waits too long. */
  idle?: NodeJS.Timeout;
  /** Rejects when the worker ended before it could take a run. */
  readonly online: Promise<void>;
}

export interface WorkerPoolOptions {
  /** So many guests at a time get a worker at once; more wait a moment for one of theirs. */
  readonly size: number;
  /** How many guests compute at a time (default: two for each processor, at least 8); more wait for their turn. Who waits for the host does not count. */
  readonly maxBusy?: number;
  readonly idleMs?: number;
}

/** Opens a pool. Its workers wait for the next guest, also more than `size`, until they had nothing to do for `idleMs` (default: a minute). */
export function openWorkerPool(options: WorkerPoolOptions): WorkerPool {
  const { size, maxBusy = Math.max(8, 2 * availableParallelism()), idleMs = defaultIdleMs } = options;
  const all = new Set<Worker>();
  const ready: Started[] = [];
  const queue: (() => void)[] = [];
  /** Guests in their turn that have no worker yet. */
  const hungry = new Set<PromiseWithResolvers<Started>>();
  let busy = 0;
  let isClosed = false;

  const forget = (worker: Worker): void => {
    const at = ready.findIndex((waiting) => waiting.worker === worker);
    if (at >= 0) clearTimeout(ready.splice(at, 1)[0]?.idle);
  };
  const start = (): Started => {
    const worker = startWorker();
    const { promise: online, resolve, reject } = Promise.withResolvers<void>();
    all.add(worker);
    worker.once("message", () => resolve());
    worker.once("exit", () => {
      reject(unavailable("A JavaScript worker did not start. Run capstan doctor."));
      all.delete(worker);
      forget(worker);
    });
    // One that waits may end before anyone asks for it.
    online.catch(() => {});
    return { worker, online };
  };
  const admit = (): void => {
    while (busy < maxBusy && queue.length > 0) {
      busy += 1;
      queue.shift()?.();
    }
  };
  const enter = async (signal: AbortSignal): Promise<void> => {
    const turn = Promise.withResolvers<void>();
    const onAbort = (): void => {
      const at = queue.indexOf(turn.resolve);
      if (at >= 0) queue.splice(at, 1);
      turn.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    queue.push(turn.resolve);
    admit();
    await turn.promise.finally(() => signal.removeEventListener("abort", onAbort));
  };
  const leave = (): void => {
    busy -= 1;
    admit();
  };
  /** A worker that another guest gives back, or a new one where that takes too long. */
  const nextFree = async (signal: AbortSignal): Promise<Started> => {
    const next = Promise.withResolvers<Started>();
    const leaveTable = (): void => void hungry.delete(next);
    const onAbort = (): void => {
      leaveTable();
      next.reject(signal.reason);
    };
    const timer = setTimeout(() => {
      leaveTable();
      next.resolve(start());
    }, patienceMs);
    signal.addEventListener("abort", onAbort, { once: true });
    hungry.add(next);
    return await next.promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    });
  };
  /** For the guest that waits longest, or for one that comes later. */
  const keep = (started: Started): void => {
    const [next] = hungry;
    if (next !== undefined) {
      hungry.delete(next);
      return next.resolve(started);
    }
    const { worker } = started;
    worker.unref();
    ready.push(started);
    started.idle = setTimeout(() => {
      forget(worker);
      // It would fail only where the worker is gone already.
      worker.terminate().catch(() => {});
    }, idleMs).unref();
  };
  const demandOpen = (): void => {
    if (isClosed) throw unavailable(closed);
  };

  return {
    async take(signal) {
      demandOpen();
      signal.throwIfAborted();
      await enter(signal);
      try {
        demandOpen();
        const isCrowded = busy - hungry.size > size;
        const started = ready.pop() ?? (isCrowded ? await nextFree(signal) : start());
        clearTimeout(started.idle);
        started.worker.ref();
        await started.online;
        return started.worker;
      } catch (thrown) {
        leave();
        throw thrown;
      }
    },
    async give(worker, isClean) {
      if (isClean && !isClosed) {
        keep({ worker, online: Promise.resolve() });
      } else {
        await worker.terminate();
        // The next run should not pay for the end of this one.
        if (!isClosed && ready.length === 0) keep(start());
      }
      leave();
    },
    wait(change) {
      busy -= change;
      admit();
    },
    async [Symbol.asyncDispose]() {
      isClosed = true;
      ready.length = 0;
      for (const { reject } of hungry) reject(unavailable(closed));
      hungry.clear();
      for (const enterNow of queue.splice(0)) {
        busy += 1;
        enterNow();
      }
      await Promise.all([...all].map((worker) => worker.terminate()));
    },
  };
}

/** A worker with nothing of this process: no environment, no arguments, no streams. It does not keep the process alive. */
function startWorker(): Worker {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const worker = new Worker(new URL(`./worker.${extension}`, import.meta.url), {
    env: {},
    argv: [],
    execArgv: [],
    stdin: false,
    stdout: true,
    stderr: true,
    resourceLimits,
  });
  worker.unref();
  // Whoever runs something in it listens for its failure; one that fails while it waits is only forgotten.
  worker.on("error", () => {});
  return worker;
}

const unavailable = (text: string): CapstanError => new CapstanError("sandbox.unavailable", text);

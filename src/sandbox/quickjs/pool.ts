import { Worker } from "node:worker_threads";
import { availableParallelism } from "node:os";
import { CapstanError } from "../../core/error.ts";

/** The worker's own JavaScript heap, beside the guest's memory: results, artifacts, and the reading of TypeScript. */
const resourceLimits = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 16, stackSizeMb: 8 };

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
  /** Rejects when the worker ended before it could take a run. */
  readonly online: Promise<void>;
}

/**
 * Opens a pool that keeps at most `size` workers waiting. At most `maxBusy` guests compute at the same time (default: two for each
 * processor, at least 8), and more wait for their turn; those that wait for the host don't count.
 */
export function openWorkerPool(size: number, maxBusy = Math.max(8, 2 * availableParallelism())): WorkerPool {
  const all = new Set<Worker>();
  const ready: Started[] = [];
  const queue: (() => void)[] = [];
  let busy = 0;
  let isClosed = false;

  const start = (): Started => {
    const worker = startWorker();
    const { promise: online, resolve, reject } = Promise.withResolvers<void>();
    all.add(worker);
    worker.once("message", () => resolve());
    worker.once("exit", () => {
      reject(unavailable("A JavaScript worker did not start. Run capstan doctor."));
      all.delete(worker);
      const at = ready.findIndex((waiting) => waiting.worker === worker);
      if (at >= 0) ready.splice(at, 1);
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
  const demandOpen = (): void => {
    if (isClosed) throw unavailable("The JavaScript engine is closed. Open another Capstan.");
  };

  return {
    async take(signal) {
      demandOpen();
      signal.throwIfAborted();
      await enter(signal);
      try {
        demandOpen();
        const started = ready.pop() ?? start();
        started.worker.ref();
        await started.online;
        return started.worker;
      } catch (thrown) {
        leave();
        throw thrown;
      }
    },
    async give(worker, isClean) {
      if (isClean && !isClosed && ready.length < size) {
        worker.unref();
        ready.push({ worker, online: Promise.resolve() });
      } else {
        await worker.terminate();
        // The next run should not pay for the end of this one.
        if (!isClean && !isClosed && ready.length === 0) ready.push(start());
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

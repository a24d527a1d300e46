import type { Worker } from "node:worker_threads";
import { openDeadline } from "../../core/deadline.ts";
import type { Json } from "../../core/json.ts";
import { answerCall } from "../answer-call.ts";
import type { ExecRequest, ExecResult, ExecStatus, SandboxFile } from "../engine.ts";
import { readOutput } from "./output.ts";
import type { OutputBuffer } from "./output.ts";
import type { AnswerMessage, CallMessage, DoneMessage, FromWorker, RunMessage } from "./protocol.ts";

export interface Supervision {
  readonly worker: Worker;
  /** That of a module that the worker has. */
  readonly maxBytes: number;
  /** Empty. */
  readonly output: OutputBuffer;
  /** Unlike that of every other run of the worker. */
  readonly run: number;
  readonly request: ExecRequest;
  readonly isSession: boolean;
  readonly signal: AbortSignal;
  /** Hears 1 when the guest begins to wait for the host, and -1 when it ends to. */
  readonly onWait: (change: 1 | -1) => void;
}

/** How a run ended, apart from where. `isReusable`: the worker may run something else; if not, the caller must end it. */
export interface Supervised {
  readonly result: Omit<ExecResult, "isolation">;
  readonly isReusable: boolean;
}

/** How the guest ended: by itself, or because of something that this thread saw. */
type End = DoneMessage | { readonly type: "stopped"; readonly status: ExecStatus; readonly error: string };

/** Has a worker run code, watches its time from outside, answers its calls, and says how it ended. Never rejects. */
export async function superviseRun({
  worker,
  maxBytes,
  output,
  run,
  request,
  isSession,
  signal,
  onWait,
}: Supervision): Promise<Supervised> {
  const { limits } = request;
  const loopBefore = worker.performance.eventLoopUtilization();
  // A thread that does not wait in its event loop is busy: an upper bound of its processor time that needs nothing of it.
  const toBusyMs = (): number => worker.performance.eventLoopUtilization(loopBefore).active;
  const ended = Promise.withResolvers<End>();
  using watch = new DisposableStack();

  const stop = (status: ExecStatus, error: string): void => ended.resolve({ type: "stopped", status, error });
  const clock = watch.use(
    openDeadline(limits.wallMs, () => stop("timeout", `The code did not end within ${limits.wallMs} ms.`)),
  );
  const calls = openCalls(request, { onWait, pause: clock.pause }, (answer) =>
    worker.postMessage({ type: "answer", run, ...answer }),
  );
  watch.use(calls);
  const onMessage = (message: FromWorker): void => {
    if (message.run !== run) return;
    if (message.type === "done") ended.resolve(message);
    else void calls.take(message);
  };
  const onError = (error: unknown): void => {
    const isMemory = error instanceof Error && "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
    if (isMemory) stop("memory", "The code used up the memory of its worker.");
    else stop("crashed", "The worker of the code failed.");
  };
  const onExit = (): void => stop("crashed", "The worker of the code ended without a result.");
  const onAbort = (): void => stop("cancelled", "The run was cancelled.");
  worker.on("message", onMessage).on("error", onError).on("exit", onExit);
  watch.defer(() => void worker.off("message", onMessage).off("error", onError).off("exit", onExit));
  signal.addEventListener("abort", onAbort);
  watch.defer(() => signal.removeEventListener("abort", onAbort));

  let timer: NodeJS.Timeout | undefined;
  const watchBusy = (): void => {
    const leftMs = limits.cpuMs - toBusyMs();
    if (leftMs > 0) timer = setTimeout(watchBusy, Math.ceil(leftMs));
    else stop("timeout", `The code used more than ${limits.cpuMs} ms of processor time.`);
  };
  watch.defer(() => clearTimeout(timer));

  const isUntouched = signal.aborted;
  if (isUntouched) onAbort();
  else if (worker.threadId < 0) onExit();
  else {
    watchBusy();
    const { language, code, files, outFiles = [] } = request;
    const message: RunMessage = {
      type: "run",
      run,
      maxBytes,
      language,
      code,
      files: files.map(toOwn),
      outFiles: outFiles.map(toOwn),
      isSession,
      limits,
      mayCall: request.onCall !== undefined,
      output,
    };
    worker.postMessage(message);
  }

  const end = await ended.promise;
  const done = end.type === "done" ? end : undefined;
  return {
    result: {
      ...toOutcome(end),
      ...readOutput(output),
      artifacts: done?.artifacts ?? [],
      usage: {
        wallMs: Math.ceil(clock.elapsedMs()),
        cpuMs: Math.ceil(done?.cpuMs ?? toBusyMs()),
        // Of a guest that was stopped, nobody knows: at most its limit.
        memoryBytes: done?.memoryBytes ?? limits.memoryBytes,
      },
    },
    isReusable: done?.isReusable ?? isUntouched,
  };
}

/** A view would take everything else that its buffer holds with it. */
const toOwn = ({ path, bytes }: SandboxFile): SandboxFile => ({ path, bytes: new Uint8Array(bytes) });

function toOutcome(end: End): Pick<ExecResult, "status" | "result" | "resultNote" | "error"> {
  if (end.type === "stopped") return { status: end.status, result: null, error: end.error };
  const { status, resultNote, error } = end;
  let result: Json;
  try {
    result = JSON.parse(end.result);
  } catch {
    return { status: "crashed", result: null, error: "The worker of the code gave a result that is no JSON." };
  }
  return {
    status,
    result,
    ...(resultNote === undefined ? {} : { resultNote }),
    ...(error === undefined ? {} : { error }),
  };
}

/** The calls of one run. Disposing cancels those that are in flight; what comes back later goes nowhere. */
interface Calls extends Disposable {
  /** Never rejects. */
  readonly take: (message: CallMessage) => Promise<void>;
}

function openCalls(
  { onCall }: Pick<ExecRequest, "onCall">,
  { onWait, pause }: Pick<Supervision, "onWait"> & { readonly pause: () => Disposable },
  answer: (message: Pick<AnswerMessage, "id" | "ok" | "text">) => void,
): Calls {
  const ended = new AbortController();
  let inFlight = 0;
  return {
    async take({ id, name, args }) {
      if (inFlight === 0) onWait(1);
      inFlight += 1;
      const { valueJson, error } = await answerCall(onCall, { name, argsJson: args }, ended.signal, pause);
      if (ended.signal.aborted) return;
      inFlight -= 1;
      if (inFlight === 0) onWait(-1);
      if (error === undefined) answer({ id, ok: true, text: valueJson });
      else answer({ id, ok: false, text: `${error.code}: ${error.message}` });
    },
    [Symbol.dispose]() {
      if (inFlight === 0) return;
      ended.abort();
      onWait(-1);
    },
  };
}

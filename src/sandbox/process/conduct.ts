import { randomUUID } from "node:crypto";
import { openDeadline } from "../../core/deadline.ts";
import type { Json } from "../../core/json.ts";
import { isShallow } from "../answer-call.ts";
import {
  type ExecRequest,
  type ExecResult,
  type ExecStatus,
  goesOn,
  type Isolation,
  type SandboxFile,
} from "../engine.ts";
import { demandPaths } from "../guest-path.ts";
import { openArtifacts } from "./artifacts.ts";
import { openCalls } from "./calls.ts";
import { type Frames, openFrames } from "./frames.ts";
import type { Guest } from "./guest.ts";
import type { Reading } from "./meter.ts";
import { openOutput, type Output } from "./output.ts";
import type { Frame, Order } from "./wire.ts";

/** How often memory and processor time are looked at: a guest can fill some 50 MB in between. */
const meterMs = 20;
/** What a run may take beyond its limit for files (64 MiB), compiled code and what V8 keeps of its own accord. */
const allowanceBytes = 128 * 1024 * 1024;
/** How often a file that comes in stands in memory: as it was read, and where it stays. */
const inputCopies = 2;
/** Printing so much more than is kept that it can only be a flood. */
const maxFloodBytes = 256 * 1024 * 1024;
/** Turns of the event loop in which prints are waited for that come after the guest's end: each may bring what a pipe holds. */
const maxTurns = 32;

type Done = Extract<Frame, { type: "done" }>;
/** How a run ended, before its output is put together. */
interface End {
  readonly status: ExecStatus;
  readonly result?: Json;
  readonly note?: string | undefined;
  readonly error?: string | undefined;
}

/** A guest that was taken for one run, or for those of a session, and what its runs have in common. */
export interface TakenGuest {
  readonly guest: Guest;
  readonly isSession: boolean;
  readonly frames: Frames;
  readonly output: Output;
  /** What it had used before its first run. */
  readonly idle: Reading | null;
}

/** Takes a guest: from now on what it says and prints is read. */
export const takeGuest = (guest: Guest, isSession: boolean): TakenGuest => ({
  guest,
  isSession,
  frames: openFrames(guest.frames),
  output: openOutput(guest),
  idle: guest.meter(),
});

/**
 * Runs one request in a guest and holds it to its limits from outside; one run at a time. Afterwards the guest is frozen where it is that of
 * a session which goes on, else killed. Throws `sandbox.bad_request` for a request that nobody could run; whatever the guest does is a value.
 */
export async function conduct(
  { guest, isSession, frames, output, idle }: TakenGuest,
  request: ExecRequest,
  isolation: Isolation,
  signal: AbortSignal,
): Promise<ExecResult> {
  const { limits } = request;
  const order = toOrder(request);
  const given = [...request.files, ...(request.outFiles ?? [])].map(({ bytes }) => bytes);
  const start = guest.meter();
  const over = new AbortController();
  const ended = Promise.withResolvers<End>();
  const end = (status: ExecStatus, error?: string) => ended.resolve({ status, error });
  using clock = openDeadline(limits.wallMs, () => end("timeout", `The code ran longer than ${limits.wallMs} ms.`));

  const givenBytes = given.reduce((sum, { length }) => sum + length, 0);
  const mostBytes = limits.memoryBytes + allowanceBytes + inputCopies * givenBytes;
  let last = start;
  const measure = () => {
    last = guest.meter() ?? last;
    if (start === null || last === null) return;
    // All runs of a session together have this much.
    if (last.residentBytes - (idle ?? start).residentBytes > mostBytes) {
      end("memory", `The code took more than ${limits.memoryBytes} bytes of memory.`);
    }
    if (last.cpuMs - start.cpuMs > limits.cpuMs)
      end("timeout", `The code used more than ${limits.cpuMs} ms of processor time.`);
  };

  let done: Done | undefined;
  const received = () => output.received("stdout") + output.received("stderr");
  const receivedBefore = received();
  output.begin(limits.outputBytes, () => {
    if (received() - receivedBefore > maxFloodBytes)
      end("output", `The code printed more than ${maxFloodBytes} bytes.`);
    settle();
  });
  // Prints come on pipes of their own, so those that were made before the end may be read after it. What other processes printed is in no
  // count of the guest: it has come when a turn of the event loop brings nothing more, or it has no end.
  let turns = 0;
  const settle = () => {
    if (done === undefined || output.received("stdout") < done.stdoutBytes) return;
    if (output.received("stderr") < done.stderrBytes) return;
    const [finished, before] = [done, received()];
    setImmediate(() => {
      turns += 1;
      if (received() === before || turns > maxTurns) ended.resolve(toEnd(finished, limits.resultBytes));
      else settle();
    });
  };

  const artifacts = openArtifacts(limits);
  const calls = openCalls(request, guest, { signal: over.signal, pause: clock.pause });
  using _ = frames.listen(order.nonce, limits, (frame) => {
    if (done !== undefined) return;
    if (frame === null) end("crashed", "The interpreter spoke out of form.");
    else if (frame.type === "artifact" && !artifacts.take(frame))
      end("crashed", "The interpreter sent files without end.");
    else if (frame.type === "call" && !calls.take(frame)) end("crashed", "The code let answers to its calls pile up.");
    else if (frame.type === "done") {
      done = frame;
      settle();
    }
  });

  const meter = setInterval(measure, meterMs);
  // What earlier runs took, each too short to be looked at, counts now.
  if (isSession) measure();
  const abort = () => end("cancelled", "The run was cancelled.");
  signal.addEventListener("abort", abort, { once: true });
  const forgetGone = whenGone(guest, () =>
    /out of memory/i.test(guest.diagnostics())
      ? end("memory", "The interpreter ran out of memory.")
      : end("crashed", "The interpreter ended without a result."),
  );
  guest.hold(true);
  if (signal.aborted) abort();
  else {
    guest.freeze(false);
    guest.orders.write(`${JSON.stringify(order)}\n`);
    for (const bytes of given) guest.orders.write(bytes);
  }
  const { status, result = null, note, error } = await ended.promise;
  const usedMs = Math.round(clock.elapsedMs());
  measure();
  clearInterval(meter);
  signal.removeEventListener("abort", abort);
  forgetGone();
  over.abort();
  const isOver = done === undefined || !goesOn(status);
  if (isSession && !isOver) {
    guest.freeze(true);
    guest.hold(false);
  } else guest.kill();
  const refused = artifacts.note();
  const notes = [note, refused].filter((text) => text !== undefined);
  return {
    status,
    stdout: output.text("stdout"),
    stderr: output.text("stderr"),
    outputCut: output.cut(),
    result,
    ...(notes.length === 0 ? {} : { resultNote: notes.join("; ") }),
    ...(error === undefined ? {} : { error }),
    artifacts: artifacts.files,
    ...(done?.artifactsCut === true || refused !== undefined ? { artifactsCut: true } : {}),
    // Where the system tells nothing, what the run may have used at most.
    usage: {
      wallMs: usedMs,
      cpuMs: start === null || last === null ? usedMs : Math.max(0, last.cpuMs - start.cpuMs),
      memoryBytes: last?.peakBytes ?? limits.memoryBytes,
    },
    isolation,
    ...(isSession && isOver ? { isOver } : {}),
  };
}

/** Tells of a guest's end until what it answers is called. The promise lives as long as a session, and must not keep each run of it. */
function whenGone({ gone }: Guest, tell: () => void): () => void {
  let told: (() => void) | undefined = tell;
  void gone.then(() => told?.());
  return () => void (told = undefined);
}

function toOrder({ language, code, files, outFiles = [], limits, onCall }: ExecRequest): Order {
  demandPaths([...files, ...outFiles]);
  const { memoryBytes, resultBytes, artifactBytes, artifacts } = limits;
  return {
    nonce: randomUUID(),
    language,
    code,
    files: files.map(toOrderFile),
    outFiles: outFiles.map(toOrderFile),
    tools: onCall !== undefined,
    ...{ memoryBytes, resultBytes, artifactBytes, artifacts },
  };
}

const toOrderFile = ({ path, bytes }: SandboxFile) => ({ path, bytes: bytes.length });

/** The guest's own account of its end, as far as it is in form. */
function toEnd({ status, resultJson, note, error }: Done, resultBytes: number): End {
  if (Buffer.byteLength(resultJson) > resultBytes || !isShallow(resultJson)) {
    return { status: "output", error: `The result is larger than ${resultBytes} bytes as JSON, or nests too deeply.` };
  }
  try {
    const result: Json = JSON.parse(resultJson);
    return { status, result, note, error };
  } catch {
    return { status: "crashed", error: "The interpreter gave a result that is no JSON." };
  }
}

import type { ChildProcess } from "node:child_process";
import { Socket } from "node:net";
import { CapstanError } from "../../core/error.ts";
import { type Confinement, launch } from "./launch.ts";
import type { PythonFiles } from "./prepare.ts";
import { pipes } from "./wire.ts";

/** From the start of a process to its "ready"; half a second where nothing else runs. */
const bootMs = 60_000;
/** Characters kept of what Node or bubblewrap say on their own account. */
const maxDiagnostics = 8_192;

/** A booted interpreter in a process of its own, good for one run. */
export interface Interpreter {
  readonly confinement: Confinement;
  /** Of the interpreter itself, as this machine counts. */
  readonly pid: number;
  readonly stdout: Socket;
  readonly stderr: Socket;
  readonly control: Socket;
  readonly answers: Socket;
  /** What Node said on its own account, as when its memory was gone; never for users, since it shows paths. */
  diagnostics(): string;
  /** Whether the event loop stays alive for it. At first not: an interpreter in waiting holds nobody up. */
  hold(held: boolean): void;
  /** SIGKILL for it and all that started it. May be called again. */
  kill(): void;
  /** Resolves when nothing of it is left; never rejects. */
  readonly gone: Promise<void>;
}

/** What came of booting: an interpreter, or that bubblewrap does not work on this machine. */
export type Booted = { readonly interpreter: Interpreter } | { readonly noBubblewrap: string };

/** Starts an interpreter and waits until it is ready. Throws `sandbox.unavailable`; aborting kills it. */
export async function bootInterpreter(
  files: PythonFiles,
  confinement: Confinement,
  signal: AbortSignal,
): Promise<Booted> {
  signal.throwIfAborted();
  const child = launch(files, confinement);
  const failed = new Promise<Error>((resolve) => child.on("error", resolve));
  if (child.pid === undefined) {
    const cause = await failed;
    if (confinement === "bubblewrap" && "code" in cause && (cause.code === "ENOENT" || cause.code === "EACCES")) {
      return { noBubblewrap: "bwrap is not installed" };
    }
    throw notStarted(cause);
  }
  const control = socketOf(child, pipes.control);
  const diagnostics = readText(socketOf(child, pipes.diagnostics));
  let left = false;
  const gone = new Promise<void>((resolve) => child.once("close", resolve)).then(() => void (left = true));
  // When nothing is left, the number of its group may be somebody else's.
  const kill = () => {
    if (left) return;
    // Who waits for its end needs an event loop that waits too.
    hold(child, true);
    killGroup(child, confinement);
  };
  child.once("exit", kill);
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(bootMs)]);
  deadline.addEventListener("abort", kill);
  const booted = Promise.all([
    confinement === "plain" ? child.pid : readPid(socketOf(child, pipes.lifeline)),
    new Promise((resolve) => control.once("data", resolve)),
  ]);
  const pid = await Promise.race([booted.then(([found]) => found), gone.then(() => undefined)]);
  deadline.removeEventListener("abort", kill);
  if (pid === undefined || deadline.aborted) {
    kill();
    await gone;
    signal.throwIfAborted();
    const said = diagnostics();
    if (said.startsWith("bwrap: ")) return { noBubblewrap: said.split("\n", 1).join("") };
    throw notStarted(new Error(said));
  }
  const interpreter: Interpreter = {
    confinement,
    pid,
    stdout: socketOf(child, pipes.stdout),
    stderr: socketOf(child, pipes.stderr),
    control,
    answers: socketOf(child, pipes.answers),
    diagnostics,
    hold: (held) => hold(child, held),
    kill,
    gone,
  };
  interpreter.hold(false);
  return { interpreter };
}

/**
 * Kills what was started as one. After the first process has ended the group may still hold the watcher of launch.ts, whose being there
 * also keeps the number of the group from being given away; with bubblewrap there is none.
 */
function killGroup(child: ChildProcess, confinement: Confinement): void {
  const ended = child.exitCode !== null || child.signalCode !== null;
  if (child.pid === undefined || (ended && confinement === "bubblewrap")) return;
  try {
    if (process.platform === "win32") child.kill("SIGKILL");
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

function hold(child: ChildProcess, held: boolean): void {
  for (const handle of [child, ...Object.values(pipes).map((fd) => socketOf(child, fd))]) {
    if (held) handle.ref();
    else handle.unref();
  }
}

/** Every pipe of a child is a socket of ours. What it breaks by dying is told by its end. */
function socketOf(child: ChildProcess, fd: number): Socket {
  const stdio: readonly unknown[] = child.stdio;
  const stream = stdio[fd];
  if (!(stream instanceof Socket)) throw new Error(`Pipe ${fd} of a Python process is missing.`);
  if (stream.listenerCount("error") === 0) stream.on("error", () => undefined);
  return stream;
}

function readText(socket: Socket): () => string {
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-maxDiagnostics);
  });
  return () => text;
}

/** What bubblewrap tells on its info descriptor, among other things. */
function readPid(socket: Socket): Promise<number> {
  const info = readText(socket);
  return new Promise((resolve) =>
    socket.on("data", () => {
      const pid = /"child-pid": (\d+)\D/.exec(info())?.[1];
      if (pid !== undefined) resolve(Number(pid));
    }),
  );
}

function notStarted(cause: Error): CapstanError {
  return new CapstanError("sandbox.unavailable", "A Python process did not start. See `capstan doctor`.", { cause });
}

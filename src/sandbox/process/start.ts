import type { ChildProcess } from "node:child_process";
import { Socket } from "node:net";
import { CapstanError } from "../../core/error.ts";
import { freeze, freezeTree } from "./freeze.ts";
import type { Guest } from "./guest.ts";
import { type Reading, readMeter } from "./meter.ts";
import { pipes } from "./wire.ts";

/** From the start of a process to its "ready"; half a second where nothing else runs. */
const bootMs = 60_000;
/** From the end of a process to that of its pipes: what is in them is read by then. */
const cutOffMs = 250;
/** Characters kept of what Node or bubblewrap say on their own account. */
const maxDiagnostics = 8_192;

/** `bubblewrap`: in namespaces of its own. `plain`: a process like any other. */
export type Confinement = "bubblewrap" | "plain";

/** A guest in a process of this machine. */
export interface LocalGuest extends Guest {
  readonly confinement: Confinement;
}

/** What came of starting: a guest, or that bubblewrap does not work on this machine. */
export type Started = { readonly guest: LocalGuest } | { readonly noBubblewrap: string };

/**
 * Waits until a process that `launch` started, with the descriptors of wire.ts and `detached`, says that it is ready. Confined by
 * bubblewrap, it tells its number on the lifeline (`--info-fd`). `openMeter` makes the meter of a process by its number; the usual one counts
 * that process alone. Throws `sandbox.unavailable`; aborting kills it.
 */
export async function startGuest(
  launch: () => ChildProcess,
  confinement: Confinement,
  signal: AbortSignal,
  openMeter: (pid: number) => () => Reading | null = (pid) => () => readMeter(pid),
): Promise<Started> {
  signal.throwIfAborted();
  const child = launchOrThrow(launch);
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
    killGroup(child);
  };
  child.once("exit", () => {
    kill();
    // With bubblewrap nobody keeps the number of the group any more.
    left ||= confinement === "bubblewrap";
    // Bubblewrap may end before what it starts is bound to its life. Such a process ends with its pipes, which it must not keep open.
    setTimeout(() => setImmediate(cutOff, child), cutOffMs).unref();
  });
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
  let thaw: (() => void) | undefined;
  const guest: LocalGuest = {
    confinement,
    meter: openMeter(pid),
    stdout: socketOf(child, pipes.stdout),
    stderr: socketOf(child, pipes.stderr),
    frames: control,
    orders: control,
    answers: socketOf(child, pipes.answers),
    diagnostics,
    hold: (held) => hold(child, held),
    freeze(isFrozen) {
      if (left) return;
      // A plain one starts no others, and the watcher below it must stay awake.
      if (confinement === "plain") freeze(pid, isFrozen);
      else if (isFrozen) thaw ??= freezeTree(pid, () => !left);
      else {
        thaw?.();
        thaw = undefined;
      }
    },
    kill,
    gone,
  };
  guest.hold(false);
  return { guest };
}

/** What throws here is that this process has no descriptor left, or that a file of the machine is gone. */
function launchOrThrow(launch: () => ChildProcess): ChildProcess {
  try {
    return launch();
  } catch (thrown) {
    throw notStarted(thrown);
  }
}

/**
 * Kills what was started as one. After the first process has ended the group may still hold a watcher (pyodide/launch.ts), whose being there
 * also keeps the number of the group from being given away, or what bubblewrap was starting.
 */
function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    if (process.platform === "win32") child.kill("SIGKILL");
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

function cutOff(child: ChildProcess): void {
  for (const fd of Object.values(pipes)) socketOf(child, fd).destroy();
}

function hold(child: ChildProcess, held: boolean): void {
  // A socket that has ended would keep each of these for a connection that never comes.
  const sockets = Object.values(pipes).map((fd) => socketOf(child, fd));
  for (const handle of [child, ...sockets.filter(({ destroyed }) => !destroyed)]) {
    if (held) handle.ref();
    else handle.unref();
  }
}

/** Every pipe of a child is a socket of ours. What it breaks by dying is told by its end. */
function socketOf(child: ChildProcess, fd: number): Socket {
  const stdio: readonly unknown[] = child.stdio;
  const stream = stdio[fd];
  if (!(stream instanceof Socket)) throw new Error(`Pipe ${fd} of a sandboxed process is missing.`);
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

function notStarted(cause: unknown): CapstanError {
  return new CapstanError("sandbox.unavailable", "A sandboxed process did not start. See `capstan doctor`.", { cause });
}

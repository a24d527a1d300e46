import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Launch } from "./stdio-launch.ts";

/** How long a server has to end by itself after its input has ended, and then after SIGTERM. After that it is killed. */
const graceMs = { input: 1_000, term: 1_000 };
/** How long what a server wrote last may take to be read after it has ended. */
const drainMs = 200;
/** How long what is left of a process group has to end after SIGTERM, and then after SIGKILL, which none survives. */
const groupMs = { term: 500, kill: 500 };
const pollMs = 20;

/** A running program, and whatever it started in its process group. Disposed of, all of it has ended. */
export interface ServerProcess extends AsyncDisposable {
  readonly input: Writable;
  readonly output: Readable;
  readonly errors: Readable;
  /** Resolves when the program has ended and what it wrote was read, with how it ended. It did not start where it begins with "did not". */
  readonly exited: Promise<string>;
}

/** The process groups that run. Where this process ends without closing them, they end with it: no signal of theirs stops SIGKILL. */
const running = new Set<() => void>();
process.on("exit", () => {
  for (const kill of running) kill();
});

/** Starts a program in a process group of its own: no Ctrl-C at a terminal reaches it, and it can be killed with all that it started. */
export function startProcess({ command, args, env, cwd }: Launch): ServerProcess {
  const isGroup = process.platform !== "win32";
  const child = spawn(command, args, { env, cwd, stdio: "pipe", detached: isGroup, windowsHide: true });
  const ended = Promise.withResolvers<string>();
  child.on("error", (error) => {
    if (child.pid === undefined)
      ended.resolve(`did not start (${"code" in error ? String(error.code) : error.message})`);
  });
  child.on("exit", (code, signal) => {
    ended.resolve(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
  });
  const closed = new Promise<void>((resolve) => child.on("close", () => resolve()));
  // A broken pipe is told by the exit that follows.
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => {});

  const signalGroup = (signal: NodeJS.Signals | 0): boolean => {
    if (child.pid === undefined) return false;
    try {
      return isGroup ? process.kill(-child.pid, signal) : child.kill(signal);
    } catch {
      return false;
    }
  };

  /** What the program started may outlive it, and may hold its pipes open. */
  async function endGroup(): Promise<void> {
    if (!isGroup || !signalGroup("SIGTERM")) return;
    if (await isGoneWithin(groupMs.term)) return;
    signalGroup("SIGKILL");
    await isGoneWithin(groupMs.kill);
  }

  async function isGoneWithin(ms: number): Promise<boolean> {
    for (const until = performance.now() + ms; performance.now() < until; await delay(pollMs)) {
      if (!signalGroup(0)) return true;
    }
    return false;
  }

  const kill = (): void => void signalGroup("SIGKILL");
  running.add(kill);

  async function end(): Promise<void> {
    child.stdin.end();
    if (!(await settlesWithin(ended.promise, graceMs.input))) {
      signalGroup("SIGTERM");
      if (!(await settlesWithin(ended.promise, graceMs.term))) signalGroup("SIGKILL");
      await ended.promise;
    }
    await endGroup();
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
    running.delete(kill);
  }

  let ending: Promise<void> | undefined;
  return {
    input: child.stdin,
    output: child.stdout,
    errors: child.stderr,
    exited: ended.promise.then(async (how) => {
      await settlesWithin(closed, drainMs);
      return how;
    }),
    [Symbol.asyncDispose]: () => (ending ??= end()),
  };
}

async function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const late = delay(ms, false, { signal: timer.signal }).catch(() => false);
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    timer.abort();
  }
}

import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export const bin = join(import.meta.dirname, "../../bin/capstan.js");

/** Compiled code is shared by the workers of a test run and all that they start: reading and compiling is most of a start. */
export const compiled = { NODE_COMPILE_CACHE: join(import.meta.dirname, "../../node_modules/.cache/capstan-compiled") };

/** What commands find in their environment. */
export const environment: Readonly<Record<string, string>> = { PATH: process.env["PATH"] ?? "", ...compiled };

/** How a command ended, as a shell sees it. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A command that is still running, for tests that send it signals. */
export interface Started {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
}

/**
 * Runs the real command in a process of its own, with a home of its own and `environment`. stdin is empty
 * unless given; a command that does not end within a minute is killed.
 */
export async function capstan(home: string, args: readonly string[], options: Options = {}): Promise<Ended> {
  return await startCapstan(home, args, options).ended;
}

/** The same, while it runs. */
export function startCapstan(home: string, args: readonly string[], options: Options = {}): Started {
  const child = spawn(process.execPath, [bin, "--home", home, ...args], {
    env: { ...environment, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: 60_000,
    killSignal: "SIGKILL",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  child.stdin.on("error", () => {}); // A command that does not read its input may end before it is written.
  child.stdin.end(options.stdin ?? "");
  const closed = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  const ended = Promise.all([closed, text(child.stdout), text(child.stderr)]);
  return { child, ended: ended.then(([code, stdout, stderr]) => ({ code, stdout, stderr })) };
}

import { spawn } from "node:child_process";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export const bin = join(import.meta.dirname, "../../bin/capstan.js");

/** How a command ended, as a shell sees it. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the real command in a process of its own, with a home of its own and nothing else in its environment but PATH. stdin is empty
 * unless given; a command that does not end within a minute is killed.
 */
export async function capstan(
  home: string,
  args: readonly string[],
  options: { readonly stdin?: string; readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [bin, "--home", home, ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: 60_000,
    killSignal: "SIGKILL",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  child.stdin.on("error", () => {}); // A command that does not read its input may end before it is written.
  child.stdin.end(options.stdin ?? "");
  const ended = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  const [code, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  return { code, stdout, stderr };
}

import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { pipes } from "./wire.ts";

/** O_CLOEXEC, as Linux writes it in octal: what is open under this flag is not handed on. */
const closeOnExec = 0o2000000;

/**
 * As Node's `spawn`, with what is open in `stdio` and nothing else: Node hands on every descriptor above the first sixteen that this process
 * was itself started with. In their place the child finds /dev/null. Elsewhere than on Linux nobody tells them, and they stay.
 */
export function spawnWith(
  stdio: readonly ("ignore" | "pipe" | number)[],
  command: string,
  args: readonly string[],
  options: Omit<SpawnOptions, "stdio">,
): ChildProcess {
  const inherited = inheritedDescriptors().filter((fd) => fd >= stdio.length);
  const nothing = inherited.length === 0 ? undefined : openSync("/dev/null", "r");
  try {
    const length = Math.max(stdio.length, ...inherited.map((fd) => fd + 1));
    const all = Array.from(
      { length },
      (_, fd) => stdio[fd] ?? (inherited.includes(fd) ? nothing : undefined) ?? "ignore",
    );
    return spawn(command, args, { ...options, stdio: all });
  } finally {
    if (nothing !== undefined) closeSync(nothing);
  }
}

/**
 * A guest's process: with the pipes of wire.ts, `more` behind them, and an empty environment. Detached: a group of its own, which Ctrl-C at a
 * terminal does not reach and which can be killed as one. `uid`: as whom it runs; undefined: as this process does.
 */
export function spawnGuest(
  command: string,
  args: readonly string[],
  { more = [], uid }: { readonly more?: readonly ("pipe" | number)[]; readonly uid?: number | undefined } = {},
): ChildProcess {
  return spawnWith(["ignore", ...Object.values(pipes).map(() => "pipe" as const), ...more], command, args, {
    env: {},
    cwd: "/",
    detached: process.platform !== "win32",
    windowsHide: true,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
}

/** Writes all that a child is to read on a pipe of its own. One that does not start reads nothing; that is told elsewhere. */
export function hand(child: ChildProcess, fd: number, bytes: Uint8Array): void {
  // Where Node found no descriptor for the pipes, it has set none.
  const streams: readonly unknown[] | undefined = child.stdio;
  const input = streams?.[fd];
  if (input instanceof Socket) input.on("error", () => undefined).end(bytes);
}

function inheritedDescriptors(): readonly number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number).filter(isHandedOn);
  } catch {
    return [];
  }
}

function isHandedOn(fd: number): boolean {
  try {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & closeOnExec) === 0;
  } catch {
    return false; // It was the one that the list was read through.
  }
}

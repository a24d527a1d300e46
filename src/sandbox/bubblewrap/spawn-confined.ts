import type { ChildProcess } from "node:child_process";
import { hand, spawnGuest } from "../process/spawn.ts";
import { pipes } from "../process/wire.ts";

/** Nobody's number. */
export const nobody = 65_534;
/** What bubblewrap reads the filter from, beside the descriptors of wire.ts; the command does not get it. */
const filterFd = 7;
/** Where `handed` is. */
export const handedFd = 8;

/**
 * A command in namespaces of its own: as nobody, without capabilities, without an environment but what `inside` sets, and with a network
 * without interfaces. When Capstan or bubblewrap ends, the kernel kills what is inside. Its number is told on the lifeline.
 */
export function spawnConfined(options: {
  /** What bubblewrap is told of the file system inside, and of the environment. */
  readonly inside: readonly string[];
  readonly command: readonly string[];
  /** Of system calls (seccomp.ts); undefined: every one is let through. */
  readonly filter: Uint8Array | undefined;
  /** The command itself is the first process inside; else bubblewrap is, which sees to those that lost their parents. */
  readonly isFirst?: boolean;
  /** A descriptor that is open inside too, where there is a filter. */
  readonly handed?: number;
  /** As whom bubblewrap runs; undefined: as whom Capstan runs. */
  readonly uid?: number | undefined;
}): ChildProcess {
  const { inside, command, filter, isFirst = false, handed, uid } = options;
  const confinement = [
    ...["--unshare-all", "--die-with-parent", "--new-session", ...(isFirst ? ["--as-pid-1"] : [])],
    ...["--clearenv", "--cap-drop", "ALL", "--uid", String(nobody), "--gid", String(nobody), "--hostname", "sandbox"],
    ...["--info-fd", String(pipes.lifeline), ...(filter === undefined ? [] : ["--seccomp", String(filterFd)])],
  ];
  const more = [...(filter === undefined ? [] : ["pipe" as const]), ...(handed === undefined ? [] : [handed])];
  const child = spawnGuest("bwrap", [...confinement, ...inside, "--", ...command], { more, uid });
  if (filter !== undefined) hand(child, filterFd, filter);
  return child;
}

import type { ChildProcess } from "node:child_process";
import { closeSync, lstatSync, openSync, readlinkSync } from "node:fs";
import { relayCommand, relayEnvironment } from "../egress/relay.ts";
import { type Interpreter, toEnvironment, toRunner } from "../guest/interpreters.ts";
import { pipes } from "../process/wire.ts";
import { handedFd, nobody, spawnConfined } from "./spawn-confined.ts";

/** As whom bubblewrap runs; undefined: as whom Capstan runs. What breaks out must not be root. */
export const guestUid = process.getuid?.() === 0 ? nobody : undefined;
/** The folders that can be written, each a file system in memory, and their sizes; `/in` holds all that the config can allow. */
export const folders: Readonly<Record<string, number>> = {
  "/dev/shm": 16 * 1024 * 1024,
  "/tmp": 64 * 1024 * 1024,
  "/in": 256 * 1024 * 1024,
  "/out": 64 * 1024 * 1024,
};
/** Processes and threads of one sandbox; Node itself has a dozen. */
const maxProcesses = 128;
const maxDescriptors = 512;
/** Node's heap never ends before the sandbox's memory does, which is measured from outside. */
const heapMb = 8_192;
const node = "/capstan/node";
const egressPath = "/capstan/egress";

/** What of /etc the interpreters look at; nothing there is anybody's secret. */
const settings = [
  ...["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/fonts"],
  ...["/etc/localtime", "/etc/matplotlibrc", "/etc/mime.types"],
  ...["/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs"],
];

const environment = { PATH: "/usr/local/bin:/usr/bin:/bin:/capstan", ...toEnvironment(2) };

/**
 * One interpreter in namespaces of its own, not ready yet, behind the filter for system calls. Inside are the machine's programs and
 * libraries, read-only, the folders that can be written, and nothing else of the machine. Where `socketPath` is the socket of a proxy, a
 * relay in front of the interpreter leads there, and nothing else leads out.
 */
export function launch(interpreter: Interpreter, filter: Uint8Array, socketPath?: string): ChildProcess {
  // Node may stand where only its owner looks, so its file is handed over open.
  const handed = openSync(process.execPath, "r");
  try {
    return spawnConfined({
      inside: inside(socketPath),
      command: command(interpreter, socketPath),
      filter,
      handed,
      uid: guestUid,
    });
  } finally {
    closeSync(handed);
  }
}

function inside(socketPath: string | undefined): readonly string[] {
  return [
    ...Object.entries({ ...environment, ...(socketPath === undefined ? {} : relayEnvironment) }).flatMap(
      ([name, value]) => ["--setenv", name, value],
    ),
    ...["--ro-bind", "/usr", "/usr"],
    ...["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"].flatMap(systemFolder),
    ...settings.flatMap((path) => ["--ro-bind-try", path, path]),
    ...["--ro-bind", `/proc/self/fd/${handedFd}`, node],
    ...(socketPath === undefined ? [] : ["--ro-bind", socketPath, egressPath]),
    ...["--proc", "/proc", "--dev", "/dev"],
    ...Object.entries(folders).flatMap(([path, bytes]) => [
      ...["--perms", "1777", "--size", String(bytes), "--tmpfs", path],
    ]),
    // The others are file systems of their own and stay as they are.
    ...["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/out"],
  ];
}

/** Part of /usr on most systems, and then a link. */
function systemFolder(path: string): readonly string[] {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  return found.isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path];
}

/** A shell sets the limits inside, where they count what is inside; shells differ in the letter for processes. */
function command(interpreter: Interpreter, socketPath: string | undefined): readonly string[] {
  const limits = [
    ...["ulimit -c 0", `ulimit -n ${maxDescriptors}`],
    `if (ulimit -u ${maxProcesses}) 2>/dev/null; then ulimit -u ${maxProcesses}; else ulimit -p ${maxProcesses}; fi`,
  ];
  const streams = `${handedFd}<&-${interpreter === "node" ? ` 2>&${pipes.stderr}` : ""}`;
  const script = `${limits.join(" && ")} && exec "$@" ${streams}`;
  const relay = socketPath === undefined ? [] : relayCommand(node, egressPath, pipes.lifeline);
  const runner = toRunner(interpreter, node, [`--max-old-space-size=${heapMb}`]);
  return ["/bin/sh", "-c", script, "sh", ...relay, ...runner];
}

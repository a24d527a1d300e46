import type { ChildProcess } from "node:child_process";
import type { PythonFiles } from "./prepare.ts";
import type { Confinement } from "../process/start.ts";
import { systemCallFilter } from "../bubblewrap/seccomp.ts";
import { hand, spawnWith } from "../process/spawn.ts";
import { pipes } from "../process/wire.ts";

/** The JavaScript heap of a child; the guest's own memory is WebAssembly's, with a limit of its own. */
const heapMb = 512;
/** Code that V8 compiled under other flags than these it would compile again. */
export const v8Flags = ["--disallow-code-generation-from-strings", `--max-old-space-size=${heapMb}`] as const;

/** Beside the descriptors of wire.ts: what bubblewrap reads the filter for system calls from. */
const filterFd = 7;

/** One Python process, not ready yet. Its environment is empty and no descriptor but our pipes is open in it. */
export function launch(files: PythonFiles, confinement: Confinement): ChildProcess {
  return confinement === "bubblewrap" ? launchConfined(files) : launchPlain(files);
}

/**
 * The file system inside holds Node, its libraries, Pyodide and the child's program, read-only, and nothing else: no /proc, no /dev, no
 * place to write. The network is a namespace without interfaces, and where the processor's system calls are known, they are filtered. When
 * Capstan or bubblewrap ends, the kernel kills what is inside.
 */
function launchConfined(files: PythonFiles): ChildProcess {
  const { packages } = files;
  const filter = systemCallFilter(process.arch);
  const inside = {
    pyodide: "/capstan/pyodide",
    made: "/capstan/made",
    ...(packages === undefined ? {} : { packages: "/capstan/packages.zip" }),
  };
  const bind = (from: string, to = from) => ["--ro-bind", from, to];
  const args = [
    ...["--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"],
    ...["--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--info-fd", String(pipes.lifeline)],
    ...(filter === undefined ? [] : ["--seccomp", String(filterFd)]),
    ...bind(process.execPath, "/capstan/node"),
    ...files.libraries.flatMap((library) => bind(library)),
    ...bind(files.pyodide, inside.pyodide),
    ...bind(files.made, inside.made),
    ...(packages === undefined ? [] : bind(packages, inside.packages)),
    ...["--remount-ro", "/", "--chdir", "/", "--", "/capstan/node"],
  ];
  const child = start("bwrap", [...args, ...nodeArguments(inside)], filter === undefined ? [] : ["pipe"]);
  if (filter !== undefined) hand(child, filterFd, filter);
  return child;
}

/**
 * Without bubblewrap a guest that never yields would outlive a Capstan that was killed: nothing in a busy process notices that its
 * pipes are closed. So a shell waits beside it, in the same process group, and kills the group at the end of the lifeline. On Windows
 * the job object of the parent does the same.
 */
function launchPlain(files: PythonFiles): ChildProcess {
  if (process.platform === "win32") return start(process.execPath, nodeArguments(files));
  const script = `(read -r _ <&${pipes.lifeline}; kill -9 0) & exec "$0" "$@" ${pipes.lifeline}<&-`;
  return start("/bin/sh", ["-c", script, process.execPath, ...nodeArguments(files)]);
}

function nodeArguments({ pyodide, made, packages }: Omit<PythonFiles, "libraries">): readonly string[] {
  return [
    ...["--permission", `--allow-fs-read=${pyodide}/`, `--allow-fs-read=${made}/`],
    ...(packages === undefined ? [] : [`--allow-fs-read=${packages}`]),
    ...["--no-warnings", ...v8Flags, `${made}/main.mjs`, pyodide, made, ...(packages === undefined ? [] : [packages])],
  ];
}

/** Detached: a group of its own, which Ctrl-C at a terminal does not reach and which can be killed as one. */
function start(command: string, args: readonly string[], more: readonly "pipe"[] = []): ChildProcess {
  return spawnWith(["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", "pipe", ...more], command, args, {
    env: {},
    cwd: "/",
    detached: process.platform !== "win32",
    windowsHide: true,
  });
}

import type { ChildProcess } from "node:child_process";
import type { PythonFiles } from "./prepare.ts";
import type { Confinement } from "../process/start.ts";
import { systemCallFilter } from "../bubblewrap/seccomp.ts";
import { spawnConfined } from "../bubblewrap/spawn-confined.ts";
import { spawnGuest } from "../process/spawn.ts";
import { pipes } from "../process/wire.ts";

/** The JavaScript heap of a child; the guest's own memory is WebAssembly's, with a limit of its own. */
const heapMb = 512;
/** Code that V8 compiled under other flags than these it would compile again. */
export const v8Flags = ["--disallow-code-generation-from-strings", `--max-old-space-size=${heapMb}`] as const;

/** One Python process, not ready yet. Its environment is empty and no descriptor but our pipes is open in it. */
export function launch(files: PythonFiles, confinement: Confinement): ChildProcess {
  return confinement === "bubblewrap" ? launchConfined(files) : launchPlain(files);
}

/**
 * The file system inside holds Node, its libraries, Pyodide and the child's program, read-only, and nothing else: no /proc, no /dev, no
 * place to write. Where the processor's system calls are known, they are filtered.
 */
function launchConfined(files: PythonFiles): ChildProcess {
  const { packages } = files;
  const inside = {
    pyodide: "/capstan/pyodide",
    made: "/capstan/made",
    ...(packages === undefined ? {} : { packages: "/capstan/packages.zip" }),
  };
  const bind = (from: string, to = from) => ["--ro-bind", from, to];
  return spawnConfined({
    isFirst: true,
    filter: systemCallFilter(process.arch),
    inside: [
      ...bind(process.execPath, "/capstan/node"),
      ...files.libraries.flatMap((library) => bind(library)),
      ...bind(files.pyodide, inside.pyodide),
      ...bind(files.made, inside.made),
      ...(packages === undefined ? [] : bind(packages, inside.packages)),
      ...["--remount-ro", "/", "--chdir", "/"],
    ],
    command: ["/capstan/node", ...nodeArguments(inside)],
  });
}

/**
 * Without bubblewrap a guest that never yields would outlive a Capstan that was killed: nothing in a busy process notices that its
 * pipes are closed. So a shell waits beside it, in the same process group, and kills the group at the end of the lifeline. On Windows
 * the job object of the parent does the same.
 */
function launchPlain(files: PythonFiles): ChildProcess {
  if (process.platform === "win32") return spawnGuest(process.execPath, nodeArguments(files));
  const script = `(read -r _ <&${pipes.lifeline}; kill -9 0) & exec "$0" "$@" ${pipes.lifeline}<&-`;
  return spawnGuest("/bin/sh", ["-c", script, process.execPath, ...nodeArguments(files)]);
}

function nodeArguments({ pyodide, made, packages }: Omit<PythonFiles, "libraries">): readonly string[] {
  return [
    ...["--permission", `--allow-fs-read=${pyodide}/`, `--allow-fs-read=${made}/`],
    ...(packages === undefined ? [] : [`--allow-fs-read=${packages}`]),
    ...["--no-warnings", ...v8Flags, `${made}/main.mjs`, pyodide, made, ...(packages === undefined ? [] : [packages])],
  ];
}

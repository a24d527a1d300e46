import type { BigIntStats } from "node:fs";
import { closeSync, constants, fstatSync, lstatSync, openSync, realpathSync, statSync, statfsSync } from "node:fs";
import { CapstanError } from "../core/error.ts";

/** One thing in the file system, found by its name in a folder that was found the same way, and never looked up by path again. */
export interface Place extends Disposable {
  /** What node:fs is given to reach exactly this thing. It may name a descriptor, so it is never shown. */
  readonly at: string | Buffer;
  /** As it was when it was found. With descriptors it can't have become another thing since. */
  readonly stat: BigIntStats;
}

/** How places are found and held. Synchronous: a step costs 4 to 5 µs, a hop through the thread pool five times that. */
export interface Method {
  readonly name: "descriptors" | "paths";
  /** The folder `/`. */
  top(): Place;
  /** The thing called `name` in a folder, the link itself where it is one. Throws errors of node:fs. */
  find(folder: Place, name: Uint8Array): Place;
  /** The same place once more, to be closed on its own. */
  again(place: Place): Place;
  /** What opening a file's content by `at` takes besides O_RDONLY. */
  readonly contentFlags: number;
  /** Throws `files.changed` where `at` leads elsewhere by now, or what was opened by it (`opened`) is another thing. */
  demandSteady(place: Place, opened?: BigIntStats): void;
}

/**
 * Linux's O_PATH (the value of every architecture that Node runs on), which node:fs does not name: a descriptor that only points.
 * Opening it needs no right to read, does nothing to devices, and neither waits at a named pipe nor wakes its writer.
 */
const O_PATH = 0o10000000;

/** Where `/proc` shows this process's descriptors: each place is a descriptor, each step starts from one. No race can redirect it. */
export const byDescriptor: Method = {
  name: "descriptors",
  top: () => held(openSync("/", O_PATH | constants.O_DIRECTORY)),
  find: (folder, name) => held(openSync(join(folder, name), O_PATH | constants.O_NOFOLLOW)),
  again: (place) => held(openSync(place.at, O_PATH)),
  // A descriptor's name in /proc is itself a link to follow, to this very thing.
  contentFlags: 0,
  demandSteady() {},
};

/**
 * Elsewhere (macOS): each place is a path whose real spelling was found to be itself, checked again after each opening. Someone who
 * swaps folders for links and back between two checks can win a race against it. The comparison also refuses another spelling of a
 * name in case or Unicode form, where the volume takes both.
 */
export const byPath: Method = {
  name: "paths",
  top: () => named(Buffer.from("/")),
  find: (folder, name) => named(join(folder, name)),
  again: (place) => named(Buffer.from(place.at)),
  // A link is not to be followed here, and no pipe to be waited at.
  contentFlags: constants.O_NOFOLLOW | constants.O_NONBLOCK,
  demandSteady(place, opened = place.stat) {
    demandSame(place.stat, opened);
    demandSame(place.stat, named(Buffer.from(place.at)).stat);
  },
};

/** The better method of the two that works here. */
export function pickMethod(): Method {
  if (process.platform !== "linux") return byPath;
  try {
    using top = byDescriptor.top();
    // In a container without /proc, or with the /proc of other processes, the name leads nowhere or elsewhere.
    const seen = statSync(top.at, { bigint: true });
    return seen.dev === top.stat.dev && seen.ino === top.stat.ino ? byDescriptor : byPath;
  } catch {
    return byPath;
  }
}

/** What to give node:fs for a name in a folder. The bytes of the name stay as they are. */
export function join(folder: Place, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(folder.at), Buffer.from("/"), name]);
}

/**
 * File systems (`f_type` of statfs, from Linux's magic.h) whose files are the kernel's state rather than anyone's files: proc, sysfs,
 * debugfs, tracefs, securityfs, cgroup, cgroup2, configfs, bpf, efivarfs, pstore, selinuxfs, smackfs, nsfs.
 */
const kernelFileSystems = new Set([
  0x9fa0, 0x62656572, 0x64626720, 0x74726163, 0x73636673, 0x27e0eb, 0x63677270, 0x62656570, 0xcafe4a11, 0xde5e81e4,
  0x6165676c, 0xf97cff8c, 0x43415d53, 0x6e736673,
]);

/** Whether a file or folder belongs to the kernel, such as `/proc/self/environ`, which calls itself a regular file. */
export function isKernelState(at: Place["at"]): boolean {
  return process.platform === "linux" && kernelFileSystems.has(statfsSync(at).type);
}

/** What the file system answered, as an error that may be shown: the path as it was asked for, nothing of descriptors. */
export function toRefusal(thrown: unknown, path: string): CapstanError {
  const shown = JSON.stringify(path);
  if (thrown instanceof CapstanError) return thrown;
  const errno = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "an unknown error";
  switch (errno) {
    case "ENOENT":
    case "ENOTDIR":
      return new CapstanError("files.not_found", `There is no ${shown}. List its folder to see what there is.`);
    case "EACCES":
    case "EPERM":
      return new CapstanError("files.no_access", `The operating system does not let Capstan read ${shown}.`);
    case "ENAMETOOLONG":
      return new CapstanError("files.bad_path", `A part of ${shown} is longer than the file system allows.`);
    case "ELOOP":
      return new CapstanError("files.symlink", `${shown} became a symbolic link, which is not followed.`);
    // Only readlink answers this here: the link that was just seen is none any more.
    case "EINVAL":
      return changed();
    default:
      return new CapstanError("files.failed", `The operating system could not read ${shown}: ${errno}.`);
  }
}

/** Throws `files.changed` unless both are the same thing. A removed file's number is soon another file's, so kind and birth count too. */
function demandSame(was: BigIntStats, is: BigIntStats): void {
  const kind = BigInt(constants.S_IFMT);
  const same = was.dev === is.dev && was.ino === is.ino && (was.mode & kind) === (is.mode & kind);
  if (!same || was.birthtimeNs !== is.birthtimeNs) throw changed();
}

function changed(): CapstanError {
  return new CapstanError("files.changed", "The place changed while it was being read. Try again.");
}

function held(descriptor: number): Place {
  let isOpen = true;
  const close = (): void => {
    // A number that is closed twice may be someone else's descriptor the second time.
    if (isOpen) closeSync(descriptor);
    isOpen = false;
  };
  try {
    const stat = fstatSync(descriptor, { bigint: true });
    return { at: `/proc/self/fd/${descriptor}`, stat, [Symbol.dispose]: close };
  } catch (thrown) {
    close();
    throw thrown;
  }
}

function named(path: Buffer): Place {
  // The top is "/", so that the paths below it begin with "//".
  const at = Buffer.from(path.subarray(path[1] === 0x2f ? 1 : 0));
  const stat = lstatSync(at, { bigint: true });
  if (!stat.isSymbolicLink() && !realpathSync.native(at, { encoding: "buffer" }).equals(at)) throw changed();
  return { at, stat, [Symbol.dispose]() {} };
}

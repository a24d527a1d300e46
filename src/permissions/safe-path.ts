import type { BigIntStats } from "node:fs";
import { readlinkSync } from "node:fs";
import { CapstanError } from "../core/error.ts";
import type { Method, Place } from "./safe-path-place.ts";
import { isKernelState, join, pickMethod, toRefusal } from "./safe-path-place.ts";
import { normalizePath, parsePath, showName, showPath, toNames } from "./safe-path-text.ts";

/** How many links one path may pass before it is refused. */
const maxHops = 8;
/** How deep below its root a place may lie: as many descriptors are open during a walk. */
const maxDepth = 256;

/** A folder by what it is, wherever it is found and under whatever name. */
export type FolderId = Pick<BigIntStats, "dev" | "ino">;

/** A granted folder or file, opened: where every walk begins. Whoever opened it closes it. */
export interface Root extends Disposable {
  /** As it was granted: absolute, for people. */
  readonly path: string;
  /** The granted folder, or the folder that holds the granted file. */
  readonly place: Place;
  /** What every path below `path` begins with when seen from `place`: the file's name, or nothing. */
  readonly prefix: readonly Buffer[];
  readonly method: Method;
  /** A folder that counts as outside wherever a walk meets it, with all below it. */
  readonly hidden: FolderId | undefined;
}

/** What a walk ended at. It stays this very thing, whatever is renamed or swapped meanwhile. Whoever opened it closes it. */
export interface Opened extends Disposable {
  readonly kind: "file" | "folder" | "symlink";
  /** Where it really is, absolute, for people: names that are not UTF-8 are escaped. */
  readonly path: string;
  /** Hard links to the same file elsewhere show as `nlink > 1`; where they are can't be known. */
  readonly stat: BigIntStats;
  /** Where a symbolic link says that it leads. */
  readonly target?: Buffer;
  readonly place: Place;
  readonly method: Method;
  readonly hidden: FolderId | undefined;
}

export interface WalkOptions {
  /** What must be at the end; anything but files and folders is refused under all of them. */
  readonly want: "file" | "folder" | "any";
  /**
   * `deny`: no part may be a link. `show`: the last part may be one and is opened as itself, for its metadata. `inside`: links are
   * followed as long as they stay below the root; below a granted file nothing is inside.
   */
  readonly symlinks: "deny" | "show" | "inside";
}

/**
 * Opens a granted folder or file, from `/` down, through no link: a folder above it that became a link since it was granted refuses.
 * Takes some 5 µs a part, so that it is opened anew for each call and what was granted is always what is there now. `hidden` (a folder's identity) is never entered, from above or as the root itself. Throws `files.*`.
 */
export function openRoot(
  path: string,
  { method = pickMethod(), hidden }: { readonly method?: Method; readonly hidden?: FolderId | undefined } = {},
): Root {
  const names = toNames(parsePath(normalizePath(path)).parts);
  using top = method.top();
  const start: Root = { path: "/", place: top, prefix: [], method, hidden, [Symbol.dispose]() {} };
  const found = walk(start, names, { want: "any", symlinks: "deny" });
  if (found.kind === "folder") {
    return { path, place: found.place, prefix: [], method, hidden, [Symbol.dispose]: () => found[Symbol.dispose]() };
  }
  found[Symbol.dispose]();
  // A file is granted by its name: programs save by replacing, and a kept descriptor would show the old file for ever.
  const parent = walk(start, names.slice(0, -1), { want: "folder", symlinks: "deny" });
  return {
    path,
    place: parent.place,
    prefix: names.slice(-1),
    method,
    hidden,
    [Symbol.dispose]: () => parent[Symbol.dispose](),
  };
}

/**
 * Opens what `path` names below the root: a relative path as text, or names as bytes (`[]` and `.` are the root itself). One step for
 * each part, each from the descriptor of the folder before; what was found is judged by its own descriptor and only then handed out.
 * Throws `files.bad_path`, `files.outside_root`, `files.symlink`, `files.special_file`, `files.not_found`, `files.no_access`,
 * `files.changed`, `files.failed`. What lies outside is never looked at, so that no answer depends on whether it exists.
 */
export function openInside(root: Root, path: string | readonly Uint8Array[], options: WalkOptions): Opened {
  return walk(root, typeof path === "string" ? toRelative(path) : path, options);
}

/** The one step of the walk by itself: opens a name in an opened folder, links denied. Throws as `openInside`. */
export function openEntry(folder: Opened, name: Uint8Array): Opened {
  const { path, place, method, hidden } = folder;
  const root: Root = { path, place, prefix: [], method, hidden, [Symbol.dispose]() {} };
  return walk(root, [name], { want: "any", symlinks: "deny" });
}

/** Whether the link at `names` leads out of the root, by itself or over other links. What is outside is not looked at. */
export function leadsOutside(root: Root, names: readonly Uint8Array[]): boolean {
  try {
    openInside(root, names, { want: "any", symlinks: "inside" })[Symbol.dispose]();
    return false;
  } catch (refusal) {
    if (!(refusal instanceof CapstanError)) throw refusal;
    return refusal.code === "files.outside_root";
  }
}

/** A folder on the way from the root to here, open. */
interface Step {
  readonly name: Uint8Array;
  readonly place: Place;
}

function walk(root: Root, path: readonly Uint8Array[], { want, symlinks }: WalkOptions): Opened {
  const asked = showPath(root.path, path);
  const pending = [...root.prefix, ...path];
  const trail: Step[] = [];
  let hops = 0;
  try {
    if (path.some(isNoName)) throw outside(asked);
    for (;;) {
      const here = trail.at(-1)?.place ?? root.place;
      const name = pending.shift();
      if (name === undefined) return end("folder");
      if (isDot(name)) continue;
      if (isParent(name)) {
        leave();
        continue;
      }
      if (trail.length >= maxDepth) throw new CapstanError("files.bad_path", `${quote(asked)} lies too deep.`);
      const place = root.method.find(here, name);
      trail.push({ name, place });
      if (place.stat.ino === root.hidden?.ino && place.stat.dev === root.hidden.dev) throw outside(asked);
      const kind = toKind(place, here);
      const isLast = pending.length === 0;
      if (kind === "symlink") {
        const target = readlinkSync(join(here, name), { encoding: "buffer" });
        if (isLast && symlinks === "show") return end(kind, target);
        hops += 1;
        if (symlinks !== "inside" || hops > maxHops) throw denied(showHere(), target);
        if (root.prefix.length > 0) throw outside(asked);
        leave();
        if (target[0] === slash) while (trail.length > 0) leave();
        pending.unshift(...toSteps(root, target, asked));
      } else if (kind === "file") {
        if (isLast) return end(kind);
        throw new CapstanError("files.not_found", `${quote(showHere())} is a file, and nothing is below a file.`);
      } else if (kind === "special") {
        throw new CapstanError(
          "files.special_file",
          `${quote(showHere())} is a device, a pipe, a socket or the kernel's own; only files and folders are read.`,
        );
      }
    }
  } catch (thrown) {
    throw toRefusal(thrown, asked);
  } finally {
    for (const { place } of trail) place[Symbol.dispose]();
  }

  /** Goes one folder up. Only a link's target asks for this; the folder above is the one that the walk came through. */
  function leave(): void {
    const step = trail.pop();
    if (step === undefined) throw outside(asked);
    step.place[Symbol.dispose]();
  }

  function showHere(): string {
    return showPath(
      root.path,
      trail.slice(root.prefix.length).map(({ name }) => name),
    );
  }

  /** Hands the last step out, to be closed by the caller; without any step, that is the root once more. */
  function end(kind: Opened["kind"], target?: Buffer): Opened {
    const wrong = (want === "file" && kind === "folder") || (want === "folder" && kind === "file");
    if (wrong) throw new CapstanError("files.bad_path", `${quote(showHere())} is a ${kind}; a ${want} was expected.`);
    const shown = showHere();
    const place = trail.pop()?.place ?? root.method.again(root.place);
    return {
      kind,
      path: shown,
      stat: place.stat,
      ...(target === undefined ? {} : { target }),
      place,
      method: root.method,
      hidden: root.hidden,
      [Symbol.dispose]: () => place[Symbol.dispose](),
    };
  }
}

const slash = 0x2f;
const dot = Buffer.from(".");
const quote = (path: string): string => JSON.stringify(path);
const isParent = (name: Uint8Array): boolean => name.length === 2 && name[0] === 0x2e && name[1] === 0x2e;

/** What a caller may not pass as one name: the system would read more than one part, or another one, out of it. */
function isNoName(name: Uint8Array): boolean {
  return name.length === 0 || name.includes(slash) || name.includes(0) || isParent(name) || isDot(name);
}

const isDot = (name: Uint8Array): boolean => name.length === 1 && name[0] === 0x2e;

/**
 * The names that a link's target stands for, from the link's folder or, where it is absolute, from the root. A target that ends in `/`
 * or `/.` ends in the step `.`, because the system takes it for a folder and no file.
 */
function toSteps(root: Root, target: Buffer, asked: string): readonly Buffer[] {
  const steps: Buffer[] = [];
  for (let from = 0; from <= target.length;) {
    const found = target.indexOf(slash, from);
    const to = found === -1 ? target.length : found;
    const name = target.subarray(from, to);
    if (name.length > 0 && !isDot(name)) steps.push(name);
    else if (found === -1) steps.push(dot);
    from = to + 1;
  }
  if (target[0] !== slash) return steps;
  const above = toNames(parsePath(root.path).parts);
  if (!above.every((name, index) => steps[index]?.equals(name) === true)) throw outside(asked);
  return steps.slice(above.length);
}

function toKind({ stat, at }: Place, folder: Place): Opened["kind"] | "special" {
  if (stat.isSymbolicLink()) return "symlink";
  if (!stat.isDirectory() && !stat.isFile()) return "special";
  // Another device is another file system, whose kind is asked for only then.
  if (stat.dev !== folder.stat.dev && isKernelState(at)) return "special";
  return stat.isDirectory() ? "folder" : "file";
}

function toRelative(path: string): readonly Buffer[] {
  const { absolute, parts } = parsePath(path);
  if (absolute) throw outside(path);
  return toNames(parts);
}

function outside(path: string): CapstanError {
  return new CapstanError(
    "files.outside_root",
    `${quote(path)} leads out of the granted folder, where nothing is read.`,
  );
}

function denied(path: string, target: Buffer): CapstanError {
  return new CapstanError(
    "files.symlink",
    `${quote(path)} is a symbolic link to ${quote(showName(target))}. Links are not followed: ask for the place that it names.`,
  );
}

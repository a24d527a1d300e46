import { Buffer } from "node:buffer";

/** Files that the guest may write, together; beyond, it gets ENOSPC. */
const maxFileBytes = 64 * 1024 * 1024;
const maxFolderDepth = 16;
const maxEntries = 1_000;

interface MemoryFile {
  contents: Uint8Array<ArrayBuffer>;
}
type Write = (
  stream: { readonly node: MemoryFile },
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
  canOwn?: boolean,
) => number;
type SetAttributes = (node: MemoryFile, attributes: { readonly size?: number }) => void;
type Unlink = (folder: { readonly contents: Readonly<Record<string, MemoryFile>> }, name: string) => void;

/** What is used here of Emscripten's file system, which lives in the memory of this process. */
export interface Files {
  mkdirTree(path: string): void;
  chdir(path: string): void;
  /** `canOwn`: the bytes become the file, without a copy. */
  writeFile(path: string, bytes: Uint8Array, options?: { readonly canOwn: boolean }): void;
  readFile(path: string): Uint8Array;
  readdir(path: string): readonly string[];
  lstat(path: string): { readonly mode: number; readonly size: number };
  isDir(mode: number): boolean;
  isFile(mode: number): boolean;
  readonly ErrnoError: new (errno: number) => Error;
  readonly filesystems: {
    readonly MEMFS: {
      expandFileStorage: (node: MemoryFile, capacity: number) => void;
      readonly ops_table: {
        readonly file: { readonly stream: { write: Write }; readonly node: { setattr: SetAttributes } };
        readonly dir: { readonly node: { unlink: Unlink } };
      };
    };
  };
}

/**
 * Counts what files take and refuses more, as a full disk does. Best effort: the parent's watch on memory is the limit that holds. And a
 * file that grows takes its bytes along: by itself it leaves a copy at each step, and the watch would take them for a bomb. What the parent
 * sends is written `uncounted`.
 */
export function capFiles(files: Files, noSpace: number): { readonly uncounted: (write: () => void) => void } {
  const { MEMFS } = files.filesystems;
  const { file, dir } = MEMFS.ops_table;
  const { write } = file.stream;
  const { setattr } = file.node;
  const { unlink } = dir.node;
  let used = 0;
  let counts = true;
  const changing = <T>(node: MemoryFile, toBytes: number, change: () => T): T => {
    if (!counts) return change();
    const before = node.contents.length;
    if (used + Math.max(0, toBytes - before) > maxFileBytes) throw new files.ErrnoError(noSpace);
    const answer = change();
    used += node.contents.length - before;
    return answer;
  };
  const { expandFileStorage } = MEMFS;
  MEMFS.expandFileStorage = (node, capacity) => {
    const { buffer, length } = node.contents;
    if (length === 0 || length !== buffer.byteLength) expandFileStorage(node, capacity);
    else if (capacity > length) node.contents = new Uint8Array(buffer.transfer(Math.max(capacity, length * 1.25)));
  };
  file.stream.write = (stream, buffer, offset, length, position, canOwn) =>
    changing(stream.node, position + length, () => write(stream, buffer, offset, length, position, canOwn));
  file.node.setattr = (node, attributes) => changing(node, attributes.size ?? 0, () => setattr(node, attributes));
  dir.node.unlink = (folder, name) => {
    const bytes = folder.contents[name]?.contents.length ?? 0;
    unlink(folder, name);
    used -= bytes;
  };
  return {
    uncounted(work) {
      counts = false;
      try {
        work();
      } finally {
        counts = true;
      }
    },
  };
}

/**
 * Passes what lies in /out to `take`: regular files only, none followed, within the limits. Answers a note about what was left behind,
 * if anything was.
 */
export function collectArtifacts(
  files: Files,
  limits: { readonly artifactBytes: number; readonly artifacts: number },
  take: (path: string, data: string) => void,
): string | undefined {
  let { artifactBytes: bytesLeft, artifacts: filesLeft } = limits;
  let entriesLeft = maxEntries;
  let leftBehind = 0;
  const walk = (folder: string, depth: number): void => {
    for (const name of files.readdir(folder).filter((entry) => entry !== "." && entry !== "..")) {
      const path = `${folder}/${name}`;
      const { mode, size } = files.lstat(path);
      entriesLeft -= 1;
      if (entriesLeft < 0) leftBehind += 1;
      else if (files.isDir(mode) && depth < maxFolderDepth) walk(path, depth + 1);
      else if (!files.isFile(mode) || size > bytesLeft || filesLeft === 0) leftBehind += 1;
      else {
        take(path.slice("/out/".length), Buffer.from(files.readFile(path)).toString("base64"));
        bytesLeft -= size;
        filesLeft -= 1;
      }
    }
  };
  try {
    walk("/out", 0);
  } catch {
    return "/out could not be read to its end";
  }
  if (leftBehind === 0) return undefined;
  return `${leftBehind} of /out stayed there: more than the limits, or no regular files`;
}

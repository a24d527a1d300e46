import type { BigIntStats, Dirent, PathLike } from "node:fs";
import { constants, lstatSync, opendirSync as openFolderSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { CapstanError } from "../core/error.ts";
import type { Opened } from "./safe-path.ts";
import { join, toRefusal } from "./safe-path-place.ts";

/** A folder that is being read, with names as bytes: no byte of a name is lost that is not UTF-8. */
interface ByteDir {
  readSync(): Dirent<Buffer> | null;
  closeSync(): void;
}

// node:fs takes "buffer" in opendir as it does in readdir; its types leave it out.
declare module "node:fs" {
  function opendirSync(path: PathLike, options: { encoding: "buffer"; bufferSize: number }): ByteDir;
}

/** How many entries are taken before other work gets its turn: below 3 ms, a stat of each included. */
const chunkSize = 256;

/** A name in a folder, as bytes, and whether the folder says that it is a folder itself. */
export interface Entry {
  readonly name: Buffer;
  readonly isFolder: boolean;
}

/**
 * Opens the content of an opened file: of the very file that the walk judged. The caller closes the handle, which may outlive `file`.
 * Throws `files.no_access`, `files.changed`, `files.failed`, and `files.bad_path` for anything but a file.
 */
export async function openContent(file: Opened): Promise<FileHandle> {
  if (file.kind !== "file") {
    throw new CapstanError(
      "files.bad_path",
      `${JSON.stringify(file.path)} is a ${file.kind}; only files have content.`,
    );
  }
  let handle: FileHandle | undefined;
  try {
    handle = await open(file.place.at, constants.O_RDONLY | file.method.contentFlags);
    file.method.demandSteady(file.place, await handle.stat({ bigint: true }));
    return handle;
  } catch (thrown) {
    await handle?.close();
    throw toRefusal(thrown, file.path);
  }
}

/**
 * The entries of an opened folder, in the order of the disk and without `.` and `..`, in chunks between which other work gets its turn.
 * `folder` must stay open meanwhile. Throws `files.no_access`, `files.changed`, `files.failed`, and the reason of an aborted signal.
 */
export async function* entriesOf(folder: Opened, signal: AbortSignal): AsyncGenerator<readonly Entry[]> {
  const entries = openEntries(folder);
  try {
    for (;;) {
      signal.throwIfAborted();
      const chunk = readChunk(entries, folder);
      if (chunk.length > 0) yield chunk;
      if (chunk.length < chunkSize) return;
      await setImmediate();
    }
  } finally {
    entries.closeSync();
  }
}

/** What a name in an opened folder is, the link itself where it is one; null when it went away meanwhile. Throws as `openContent`. */
export function statEntry(folder: Opened, name: Uint8Array): BigIntStats | null {
  try {
    return lstatSync(join(folder.place, name), { bigint: true, throwIfNoEntry: false }) ?? null;
  } catch (thrown) {
    throw toRefusal(thrown, folder.path);
  }
}

function openEntries(folder: Opened): ByteDir {
  let entries: ByteDir | undefined;
  try {
    entries = openFolderSync(folder.place.at, { encoding: "buffer", bufferSize: chunkSize });
    folder.method.demandSteady(folder.place);
    return entries;
  } catch (thrown) {
    entries?.closeSync();
    throw toRefusal(thrown, folder.path);
  }
}

function readChunk(entries: ByteDir, folder: Opened): readonly Entry[] {
  const chunk: Entry[] = [];
  try {
    while (chunk.length < chunkSize) {
      const entry = entries.readSync();
      if (entry === null) break;
      chunk.push({ name: entry.name, isFolder: entry.isDirectory() });
    }
    return chunk;
  } catch (thrown) {
    throw toRefusal(thrown, folder.path);
  }
}

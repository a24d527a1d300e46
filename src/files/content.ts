import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { CapstanError } from "../core/error.ts";
import type { Opened } from "../permissions/safe-path.ts";
import { toRefusal } from "../permissions/safe-path-place.ts";
import { openContent } from "../permissions/safe-path-read.ts";
import { headBytes, toMediaType } from "./media-type.ts";

const hashChunkBytes = 256 * 1024;
const readChunkBytes = 1024 * 1024;
/** How often a file is read that changes meanwhile. */
const maxReads = 3;

/** How many bytes a call may still hash. Each file draws it down, so that many files cost no more than one. */
export interface HashBudget {
  left: number;
}

/** The media type of an opened file, by its first bytes. Throws `files.*` as `openContent`, and the reason of an aborted signal. */
export async function readMediaType(file: Opened, signal: AbortSignal): Promise<string> {
  for await (const head of chunksOf(file, headBytes, signal)) return toMediaType(head);
  return toMediaType(Buffer.alloc(0));
}

/**
 * The SHA-256 of an opened file, in hexadecimal. Throws `files.too_large` when it is larger than what is left of the budget, or grows
 * past it while it is read; else as `readMediaType`.
 */
export async function hashContent(file: Opened, budget: HashBudget, signal: AbortSignal): Promise<string> {
  const sum = createHash("sha256");
  demandRoom(file.stat.size);
  for await (const chunk of chunksOf(file, hashChunkBytes, signal)) {
    demandRoom(BigInt(chunk.length));
    budget.left -= chunk.length;
    sum.update(chunk);
  }
  return sum.digest("hex");

  function demandRoom(bytes: bigint): void {
    if (bytes <= BigInt(budget.left)) return;
    throw new CapstanError(
      "files.too_large",
      `${JSON.stringify(file.path)} is not hashed: it has ${file.stat.size} bytes, and this call may hash ${budget.left} more.`,
    );
  }
}

/**
 * The bytes of an opened file as they were at one time: where it changes while it is read, it is read again. Throws `files.too_large` for
 * more than `maxBytes`, before any room is made for them; `files.changed` for one that does not stand still; else as `readMediaType`.
 */
export async function readContent(file: Opened, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  await using handle = await openContent(file);
  for (let tries = 0; tries < maxReads; tries += 1) {
    const { size, mtimeNs } = await handle.stat({ bigint: true });
    if (size > BigInt(maxBytes)) {
      throw new CapstanError(
        "files.too_large",
        `${JSON.stringify(file.path)} is not read: it has ${size} bytes, and ${maxBytes} more may be read here.`,
      );
    }
    const bytes = Buffer.alloc(Number(size));
    for (let filled = 0, count = 1; filled < bytes.length && count > 0; filled += count) {
      signal.throwIfAborted();
      count = await readAt(handle, bytes.subarray(filled, filled + readChunkBytes), filled, file.path);
    }
    const after = await handle.stat({ bigint: true });
    if (after.size === size && after.mtimeNs === mtimeNs) return bytes;
  }
  throw new CapstanError(
    "files.changed",
    `${JSON.stringify(file.path)} is being written, and changed each time it was read. Call again when it is done.`,
  );
}

/** The bytes of a file in order. Each chunk is good until the next one is asked for. */
async function* chunksOf(file: Opened, chunkBytes: number, signal: AbortSignal): AsyncGenerator<Buffer> {
  await using handle = await openContent(file);
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (let position = 0; ;) {
    signal.throwIfAborted();
    const bytes = await readAt(handle, buffer, position, file.path);
    if (bytes === 0) return;
    yield buffer.subarray(0, bytes);
    position += bytes;
  }
}

async function readAt(handle: FileHandle, buffer: Buffer, position: number, path: string): Promise<number> {
  try {
    return (await handle.read(buffer, 0, buffer.length, position)).bytesRead;
  } catch (thrown) {
    throw toRefusal(thrown, path);
  }
}

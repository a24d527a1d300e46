import { Buffer } from "node:buffer";
import { readSync, writeSync } from "node:fs";
import type { Frame } from "../../process/wire.ts";

/** As in wire.ts, of which only the types are here. */
export const fds = { stdout: 1, control: 3, answers: 4, stderr: 5 } as const;

// The global, not an import: importing "node:process" opens stdout, which makes the pipe of that number non-blocking.
const { process } = globalThis;
const reallyExit: (code: number) => never = Reflect.get(process, "reallyExit");
/** How many bytes the guest has printed. */
const printed = { [fds.stdout]: 0, [fds.stderr]: 0 };

/** Ends this process at once, also after `seal` took `process.exit`. */
export function exit(): never {
  return Reflect.apply(reallyExit, process, [0]);
}

/** Writes what the guest prints; answers how many bytes, all of them. */
export function print(fd: keyof typeof printed, bytes: Uint8Array): number {
  writeAll(fd, bytes);
  printed[fd] += bytes.length;
  return bytes.length;
}

/** For the last frame: how much the parent has to read. */
export function printedBytes(): { readonly stdoutBytes: number; readonly stderrBytes: number } {
  return { stdoutBytes: printed[fds.stdout], stderrBytes: printed[fds.stderr] };
}

/** Sends a frame to the parent. */
export function say(frame: Frame): void {
  writeAll(fds.control, Buffer.from(`${JSON.stringify(frame)}\n`));
}

/** What `readLine` reads into: one of its own for each call would be most of what a call costs. */
const chunk = Buffer.allocUnsafeSlow(65_536);
/** What came behind a line. */
let unread = Buffer.alloc(0);

/** The parent's next line on the control pipe. */
export function readLine(): string {
  const parts: Buffer[] = [];
  for (;;) {
    const part = unread.length > 0 ? unread : chunk.subarray(0, read(chunk, 0));
    const end = part.indexOf(10);
    unread = Buffer.from(part.subarray(end < 0 ? part.length : end + 1));
    if (end >= 0 && parts.length === 0) return part.toString("utf8", 0, end);
    parts.push(Buffer.from(part.subarray(0, end < 0 ? part.length : end)));
    if (end >= 0) return Buffer.concat(parts).toString();
  }
}

/** So many bytes of what the parent sends behind a line. */
export function readBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(length);
  const known = unread.copy(bytes);
  unread = unread.subarray(known);
  for (let at = known; at < length;) at += read(bytes, at);
  return bytes;
}

/** At the end of the pipe nobody waits for this process. */
function read(into: Buffer, at: number): number {
  return readSync(fds.control, into, at, into.length - at, null) || exit();
}

/** The pipes block, so this waits for a parent that is slow, and ends with one that is gone. */
function writeAll(fd: number, bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  } catch {
    exit();
  }
}

import type { Socket } from "node:net";
import { Readable, Writable } from "node:stream";
import { pipes } from "../process/wire.ts";

/** Characters kept of what the runtime in a container says on its own account. */
const maxDiagnostics = 8_192;
/** A channel, three bytes of nothing, and a length: the form that Docker gives to the output of a container. */
const headerBytes = 8;
/** What is said to the launcher itself. */
const launcherChannel = 0;

/** The pipes of a guest whose container is attached to by one socket. */
export interface Channels {
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly frames: Readable;
  readonly orders: Writable;
  readonly answers: Writable;
  readonly diagnostics: () => string;
  /** Asks the launcher to stop all other processes, or to let them go on: at once, but only as far as nobody has taken it over. */
  readonly freeze: (isFrozen: boolean) => void;
  /** Resolves when the socket is closed; never rejects. */
  readonly closed: Promise<void>;
}

/**
 * Splits what an attached container says into the pipes of its runner, and puts together what is written to them. Docker wraps the
 * output of the launcher (launcher.ts) in frames, and the launcher what its runner says, in frames of the same form. A channel that
 * is none destroys the socket.
 */
export function openChannels(socket: Socket): Channels {
  let diagnostics = "";
  const toReadable = () => new Readable({ read: () => void socket.resume() });
  const streams = { stdout: toReadable(), stderr: toReadable(), frames: toReadable() };
  const toWritable = (channel: number) =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        socket.write(toHeader(channel, chunk.length));
        // What broke the socket is told by its end.
        socket.write(chunk, () => done());
      },
    });
  const say = (piece: Buffer) => {
    diagnostics = (diagnostics + piece.toString("latin1")).slice(-maxDiagnostics);
  };
  // What the processes of a guest print as errors may come where its runtime complains.
  const byChannel = new Map<number, Readable>([
    [pipes.stdout, streams.stdout],
    [pipes.stderr, streams.stderr],
    [pipes.diagnostics, streams.stderr],
    [pipes.control, streams.frames],
  ]);
  let isReady = false;
  const fromRunner = splitFrames((channel, piece) => {
    isReady ||= channel === pipes.control;
    if (channel === pipes.diagnostics) say(piece);
    if (channel === pipes.diagnostics && !isReady) return;
    const stream = byChannel.get(channel);
    if (stream === undefined) socket.destroy();
    else if (!stream.push(piece)) socket.pause();
  });
  socket.on(
    "data",
    splitFrames((output, piece) => (output === 1 ? fromRunner(piece) : say(piece))),
  );
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => {
    socket.once("close", () => {
      for (const stream of Object.values(streams)) stream.push(null);
      resolve();
    });
  });
  return {
    ...streams,
    orders: toWritable(pipes.control),
    answers: toWritable(pipes.answers),
    diagnostics: () => diagnostics,
    freeze: (isFrozen) => void socket.write(Buffer.from([...toHeader(launcherChannel, 1), isFrozen ? 1 : 0])),
    closed,
  };
}

function toHeader(channel: number, bytes: number): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt8(channel);
  header.writeUInt32BE(bytes, 4);
  return header;
}

/** Passes the content of frames on in the pieces in which it comes; nothing is kept but a header that is not whole yet. */
export function splitFrames(take: (channel: number, piece: Buffer) => void): (chunk: Buffer) => void {
  const header = Buffer.alloc(headerBytes);
  let known = 0;
  let left = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length;) {
      if (left > 0) {
        const piece = chunk.subarray(at, at + left);
        left -= piece.length;
        at += piece.length;
        take(header.readUInt8(), piece);
      } else {
        const copied = chunk.copy(header, known, at, at + headerBytes - known);
        at += copied;
        known = (known + copied) % headerBytes;
        if (known === 0) left = header.readUInt32BE(4);
      }
    }
  };
}

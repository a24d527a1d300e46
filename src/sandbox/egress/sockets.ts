import { connect, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CapstanError } from "../../core/error.ts";

/** Until one of a server's addresses takes the connection. */
const connectMs = 10_000;

/**
 * Connects to one of the addresses, whichever answers, and to nothing else: no name is resolved any more. Throws `sandbox.unreachable`.
 * Aborting `signal` rejects with its reason, and closes the socket also later.
 */
export async function connectTo(addresses: readonly string[], port: number, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const checked = addresses.map((address) => ({ address, family: isIP(address) }));
  const socket = connect({
    // A name, so that Node asks `lookup` and tries all of them.
    host: "checked.invalid",
    port,
    lookup: (_host, { all }, found) => {
      const [first = { address: "", family: 0 }] = checked;
      if (all === true) found(null, checked);
      else found(null, first.address, first.family);
    },
    autoSelectFamily: true,
    allowHalfOpen: true,
    noDelay: true,
  });
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const fail = () => {
    reject(signal.aborted ? signal.reason : new CapstanError("sandbox.unreachable", "The server takes no connection."));
    socket.destroy();
  };
  const tooSlow = setTimeout(fail, connectMs);
  signal.addEventListener("abort", fail, { once: true });
  socket.on("error", fail).once("connect", () => resolve(socket));
  socket
    .once("connect", () => clearTimeout(tooSlow))
    .once("close", () => {
      clearTimeout(tooSlow);
      signal.removeEventListener("abort", fail);
    });
  return await promise;
}

/**
 * Reads a socket until `take` has found what it looks for; what it did not use is left to be read. Rejects with what `take` throws,
 * and with `sandbox.network_refused` when the socket ends before. The socket is paused then.
 */
export async function readUntil<T>(
  socket: Duplex,
  take: (chunk: Buffer) => { readonly found: T; readonly used: number } | undefined,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const ended = () => reject(new CapstanError("sandbox.network_refused", "The connection ended before it began."));
  const read = (chunk: Buffer) => {
    try {
      const end = take(chunk);
      if (end === undefined) return;
      socket.pause().off("data", read);
      if (end.used < chunk.length) socket.unshift(chunk.subarray(end.used));
      resolve(end.found);
    } catch (thrown) {
      reject(thrown);
    }
  };
  socket.on("end", ended).on("close", ended).on("data", read);
  if (socket.destroyed || socket.readableEnded) ended();
  else socket.resume();
  try {
    return await promise;
  } finally {
    socket.pause().off("end", ended).off("close", ended).off("data", read);
  }
}

/** Carries bytes both ways until both have ended or one breaks; `spend` hears of each chunk. Both are closed then. Never rejects. */
export async function carry(a: Duplex, b: Duplex, spend: (bytes: number) => void): Promise<void> {
  for (const socket of [a, b]) socket.on("data", ({ length }: Buffer) => spend(length));
  const close = () => {
    a.destroy();
    b.destroy();
  };
  await Promise.all([pipeline(a, b), pipeline(b, a)].map((way) => way.catch(close)));
  close();
}

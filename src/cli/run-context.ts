import { longestMs } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import type { Session } from "./command.ts";

/** Text that is piped in is context of the task, never instructions, and at most this large. */
const maxContextBytes = 4 * 1024 * 1024;
/** When a pipe that stays open is talked of. */
const hintMs = 3_000;

/**
 * What is piped in, to its end; a terminal and an empty pipe give nothing. A pipe that stays open is waited for as long as the run may
 * take, `timeMs`, and that is said. Throws `run.time`, `usage.bad_option`, and the reason of the session's signal.
 */
export async function readContext({ tell, signal }: Session, timeMs: number): Promise<string | undefined> {
  const { stdin } = process;
  // It may have been read by now, for a token.
  if (stdin.isTTY || stdin.readableEnded) return undefined;
  const hint = setTimeout(
    () => tell("Reading context from stdin. Close it, or add < /dev/null, if there is none."),
    hintMs,
  );
  const read = Promise.withResolvers<void>();
  const late = setTimeout(() => read.reject(stayedOpen(timeMs)), Math.min(timeMs, longestMs));
  const stop = (): void => read.reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const chunks: Buffer[] = [];
  let bytes = 0;
  stdin.on("error", read.reject).on("end", read.resolve);
  stdin.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxContextBytes) read.reject(tooLarge());
  });
  try {
    signal.throwIfAborted();
    await read.promise;
    return bytes === 0 ? undefined : Buffer.concat(chunks).toString("utf8");
  } finally {
    clearTimeout(hint);
    clearTimeout(late);
    signal.removeEventListener("abort", stop);
    stdin.destroy();
  }
}

function tooLarge(): CapstanError {
  return new CapstanError("usage.bad_option", `stdin is larger than ${maxContextBytes} bytes. Pass a part of it.`);
}

function stayedOpen(timeMs: number): CapstanError {
  const message = `stdin stayed open for the ${timeMs} ms that the run may take. Close it, add < /dev/null, or allow more with --timeout.`;
  return new CapstanError("run.time", message);
}

import { setTimeout as sleep } from "node:timers/promises";
import type { CapstanError } from "../../../core/error.ts";
import { type Line, openLineCutter } from "../../../core/lines.ts";
import type { Link, LinkEvents, Outgoing } from "./link.ts";
import { gone } from "./peer.ts";
import { showText } from "./text.ts";
import type { Launch } from "./stdio-launch.ts";
import { startProcess } from "./stdio-process.ts";

/** A message of a server, 12 MB results included. What is longer is dropped as it arrives. */
const maxLineBytes = 32 * 1024 * 1024;
const maxErrorLineBytes = 4_096;
/** What a server that does not read its input lets wait, before nothing more is sent to it. */
const maxWaitingBytes = 32 * 1024 * 1024;
/** How long a server whose stdout has ended has to end as well: then it is told how. */
const closedMs = 500;

/** Starts a server and speaks with it over its stdin and stdout. What it writes to stderr is logged. */
export function openStdioLink(
  { name, launch, log }: { readonly name: string; readonly launch: Launch; readonly log: (line: string) => void },
  events: LinkEvents,
): Link {
  const server = startProcess(launch);
  let isOpen = true;
  let unwritten: { text: string; readonly written: PromiseWithResolvers<boolean> } | undefined;

  const receive = (line: Line): void => {
    if (!Buffer.isBuffer(line)) return events.onUnreadable(`a line of more than ${maxLineBytes} bytes`);
    const text = line.toString("utf8");
    if (text.trim() === "") return;
    const message = parse(text);
    if (message === undefined) events.onUnreadable(`no JSON on stdout: ${showText(text, 120)}`);
    else events.onMessage(message);
  };
  const cutOutput = openLineCutter(maxLineBytes);
  server.output.on("data", (chunk: Buffer) => cutOutput(chunk).forEach(receive));

  const cutErrors = openLineCutter(maxErrorLineBytes);
  server.errors.on("data", (chunk: Buffer) => {
    for (const line of cutErrors(chunk)) {
      log(
        `stderr: ${Buffer.isBuffer(line) ? showText(line.toString("utf8"), 500) : `a line of more than ${maxErrorLineBytes} bytes`}`,
      );
    }
  });

  const close = (why: string): void => {
    if (!isOpen) return;
    isOpen = false;
    events.onClose(why);
  };
  server.exited.then(close, () => close("ended"));
  server.output.on("end", () => setTimeout(() => close("closed its stdout"), closedMs).unref());

  async function send(message: Outgoing): Promise<void> {
    if (!isOpen) throw gone(name, "has ended");
    if (server.input.writableLength + (unwritten?.text.length ?? 0) > maxWaitingBytes) throw stuck();
    if (await write(`${JSON.stringify(message)}\n`)) return;
    // Most likely it has just ended: how it did says more.
    const why = await Promise.race([server.exited, sleep(closedMs, "no longer reads its input", { ref: false })]);
    close(why);
    throw gone(name, why);
  }

  /** Resolves with whether it could be written. */
  function write(line: string): Promise<boolean> {
    if (unwritten === undefined) {
      unwritten = { text: "", written: Promise.withResolvers() };
      process.nextTick(flush);
    }
    unwritten.text += line;
    return unwritten.written.promise;
  }

  /** What is sent in one turn leaves at once: each write is a call of the system. */
  function flush(): void {
    if (unwritten === undefined) return;
    const { text, written } = unwritten;
    unwritten = undefined;
    server.input.write(text, (error) => written.resolve(error === undefined || error === null));
  }

  function stuck(): CapstanError {
    return gone(name, `does not read its input: more than ${maxWaitingBytes} bytes wait for it`);
  }

  return {
    hasOwnStreams: false,
    send,
    setVersion: () => {},
    async [Symbol.asyncDispose]() {
      isOpen = false;
      flush();
      await server[Symbol.asyncDispose]();
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

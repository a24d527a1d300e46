import { createInterface } from "node:readline";
import { CapstanError } from "../core/error.ts";
import type { Line } from "../core/lines.ts";
import { openLineCutter } from "../core/lines.ts";

/** What a person says, one message after the other. */
export interface Lines extends AsyncDisposable {
  /** null: there is nothing more. Throws `usage.bad_option` for a message that is too long; the next one comes behind it. */
  next(): Promise<string | null>;
}

/** As large as what `capstan run` takes from stdin. */
const maxLineBytes = 4 * 1024 * 1024;

/** How long after a line of a paste the next one follows at most. */
const pasteMs = 50;

/**
 * Messages typed at a terminal, with a prompt on stderr. Lines that come at once were pasted and are one message. Ctrl-D ends it, and so
 * does Ctrl-C twice. Between messages the terminal is nobody's, so that Ctrl-C reaches the process.
 */
export function openTypedLines(tell: (text: string) => void): Lines {
  let history: string[] = [];
  return {
    next: () =>
      new Promise((resolve) => {
        const typed = createInterface({ input: process.stdin, output: process.stderr, prompt: "> ", history });
        const lines: string[] = [];
        let timer: NodeJS.Timeout | undefined;
        let isWarned = false;
        let said: string | null = null;
        const finish = (): void => {
          // The last line of a paste may want its Enter yet.
          if (typed.line !== "") return;
          said = lines.join("\n");
          typed.close();
        };
        typed.on("history", (all: string[]) => (history = all));
        typed.on("line", (line) => {
          lines.push(line);
          isWarned = false;
          clearTimeout(timer);
          timer = setTimeout(finish, pasteMs);
        });
        typed.on("SIGINT", () => {
          if (isWarned) return typed.close();
          isWarned = true;
          lines.length = 0;
          tell("\nCtrl-C again, Ctrl-D or /exit leaves.");
          typed.write(null, { ctrl: true, name: "u" });
          typed.prompt();
        });
        typed.on("close", () => {
          clearTimeout(timer);
          resolve(said);
        });
        typed.prompt();
      }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Messages from a pipe, one a line of at most `maxLineBytes`. Aborting ends it. */
export function openPipedLines(signal: AbortSignal): Lines {
  const { stdin } = process;
  // It was read before, for a token, and will not end once more.
  if (stdin.readableEnded) return { next: async () => null, [Symbol.asyncDispose]: async () => {} };
  const stop = (): void => void stdin.destroy();
  signal.addEventListener("abort", stop, { once: true });
  const lines = cutLines(stdin);
  return {
    async next() {
      const { done, value } = await lines.next();
      if (done === true) return null;
      if (Buffer.isBuffer(value)) return value.toString().replace(/\r$/, "");
      throw new CapstanError(
        "usage.bad_option",
        `A line of stdin is longer than ${maxLineBytes} bytes, and each is a message. Make it shorter.`,
      );
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener("abort", stop);
      stdin.destroy();
    },
  };
}

/** Reads on when the next line is wanted, and holds one chunk and one line at most. */
async function* cutLines(input: AsyncIterable<Buffer>): AsyncGenerator<Line> {
  const cut = openLineCutter(maxLineBytes);
  for await (const chunk of input) yield* cut(chunk);
  // A last line may have no end.
  for (const line of cut(Buffer.from("\n"))) if (!Buffer.isBuffer(line) || line.length > 0) yield line;
}

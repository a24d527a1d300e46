import { createInterface } from "node:readline";

/** What a person says, one message after the other. */
export interface Lines extends AsyncDisposable {
  /** null: there is nothing more. */
  next(): Promise<string | null>;
}

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

/** Messages from a pipe, one a line. Aborting ends it. */
export function openPipedLines(signal: AbortSignal): Lines {
  // It was read before, for a token, and will not end once more.
  if (process.stdin.readableEnded) return { next: async () => null, [Symbol.asyncDispose]: async () => {} };
  const piped = createInterface({ input: process.stdin, signal });
  const lines = piped[Symbol.asyncIterator]();
  return {
    async next() {
      const { done, value } = await lines.next();
      return done === true ? null : value;
    },
    async [Symbol.asyncDispose]() {
      piped.close();
      process.stdin.destroy();
    },
  };
}

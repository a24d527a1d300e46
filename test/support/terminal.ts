import { spawn } from "node:child_process";
import { bin, environment } from "./capstan.ts";

/** What a person does on a terminal: once this is shown, they type this, if anything. Each answer waits for those before it. */
export interface Answer {
  readonly after: string;
  readonly type?: string;
  /** Called once it is shown. */
  readonly seen?: () => void;
}

/** Runs the real command on a terminal of its own and gives all that was shown there, with its exit code. `describeWith("terminal")`. */
export async function onTerminal(
  home: string,
  args: readonly string[],
  answers: readonly Answer[] = [],
): Promise<{ readonly shown: string; readonly code: number | null }> {
  const words = [process.execPath, bin, "--home", home, ...args];
  const quoted = words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  const child = spawn("script", ["-qec", `stty cols 200; ${quoted}`, "/dev/null"], {
    env: { ...environment, TERM: "xterm" },
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  child.stdin.on("error", () => {});
  let shown = "";
  let seen = 0;
  let answered = 0;
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    shown += part;
    for (let next = answers[answered]; next !== undefined; next = answers[answered]) {
      const place = shown.indexOf(next.after, seen);
      if (place < 0) return;
      seen = place + next.after.length;
      answered += 1;
      next.seen?.();
      if (next.type !== undefined) child.stdin.write(next.type);
    }
  });
  child.stderr.resume();
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  return { shown: shown.replaceAll("\r\n", "\n"), code };
}

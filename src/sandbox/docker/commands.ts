import { relayCommand } from "../egress/relay.ts";
import type { Language } from "../engine.ts";
import { nodeProgram } from "../guest/node.ts";
import { pythonProgram } from "../guest/python.ts";
import { pipes } from "../process/wire.ts";
import { launcherInJavaScript, launcherInPython } from "./launcher.ts";

/** What a container starts with; the image has it. */
export type Interpreter = "python" | "node";

export const interpreters: Readonly<Record<Language, Interpreter>> = {
  python: "python",
  bash: "python",
  javascript: "node",
  typescript: "node",
};

const python = ["python3", "-I", "-X", "utf8", "-c"];
const node = ["node", "--no-warnings", "-e"];
const commands = {
  python: { launcher: [...python, launcherInPython], runner: [...python, pythonProgram] },
  node: { launcher: [...node, launcherInJavaScript], runner: [...node, nodeProgram] },
};

/** The command of a container: a launcher, and the runner that it launches. With a way out by a socket at `egressPath`, a relay (in Node)
 * stands before the runner. */
export function toCommand(interpreter: Interpreter, egressPath: string | undefined): readonly string[] {
  const { launcher, runner } = commands[interpreter];
  const relay = egressPath === undefined ? [] : relayCommand("node", egressPath, pipes.lifeline);
  return [...launcher, ...relay, ...runner];
}

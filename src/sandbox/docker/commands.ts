import { relayCommand } from "../egress/relay.ts";
import { type Interpreter, toNode, toPython, toRunner } from "../guest/interpreters.ts";
import { pipes } from "../process/wire.ts";
import { launcherInJavaScript, launcherInPython } from "./launcher.ts";

const node = "node";
const launchers = { python: toPython(launcherInPython), node: toNode(node, launcherInJavaScript) };

/** The command of a container: a launcher, and the runner that it launches. With a way out by a socket at `egressPath`, a relay (in Node)
 * stands before the runner. */
export function toCommand(interpreter: Interpreter, egressPath: string | undefined): readonly string[] {
  const relay = egressPath === undefined ? [] : relayCommand(node, egressPath, pipes.lifeline);
  return [...launchers[interpreter], ...relay, ...toRunner(interpreter, node)];
}

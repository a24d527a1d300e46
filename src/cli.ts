import type { Command } from "commander";
import { CommanderError } from "commander";
import type { Globals } from "./cli/command.ts";
import { report, tell } from "./cli/command.ts";
import { toProgram } from "./cli/program.ts";
import { longestMs } from "./core/clock.ts";

/** Commander prints its own sentence and ends by throwing; every command then hears the same exit codes. */
function exitOverrideAll(command: Command): void {
  command.exitOverride();
  for (const sub of command.commands) exitOverrideAll(sub);
}

const program = toProgram((code) => {
  process.exitCode = code;
});
exitOverrideAll(program);
// A reader that goes away (`capstan … | head`) ends the program quietly, a full disk does not; what goes on ends in order, as by a signal.
let isUnread = false;
let isLost = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (isUnread) return;
  isUnread = true;
  isLost = error.code !== "EPIPE";
  if (isLost) tell(`stdout can't be written (${error.code}), so the answer is lost. What was done is done.`);
  if (!process.emit("SIGTERM", "SIGTERM")) process.exit(isLost ? 1 : 0);
});
// Nobody reads what is told any more, such as when a terminal is closed: the work goes on, or stops in order.
process.stderr.on("error", () => {});
// A time limit alone does not keep Node running: without this a command that waits for nothing else would end before it has an answer.
const awake = setInterval(() => {}, longestMs);
try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else process.exitCode = report(thrown, program.opts<Globals>().verbose === true);
} finally {
  clearInterval(awake);
}
// What is left open, such as a pipe on stdin or a server's child that ignores its end, must not keep the command from ending.
await Promise.all(
  [process.stdout, process.stderr].map((stream) => new Promise((resolve) => stream.write("", resolve))),
);
if (isLost) process.exitCode = 1;
process.exit();

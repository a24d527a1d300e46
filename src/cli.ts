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
// A reader that goes away (`capstan … | head`) ends the program quietly; a full disk does not.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  tell(`stdout can't be written (${error.code}), so the answer is lost. What was done is done.`);
  process.exit(1);
});
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

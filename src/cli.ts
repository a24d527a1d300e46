import type { Command } from "commander";
import { CommanderError } from "commander";
import type { Globals } from "./cli/command.ts";
import { report } from "./cli/command.ts";
import { toProgram } from "./cli/program.ts";

/** Commander prints its own sentence and ends by throwing; every command then hears the same exit codes. */
function exitOverrideAll(command: Command): void {
  command.exitOverride();
  for (const sub of command.commands) exitOverrideAll(sub);
}

const program = toProgram((code) => {
  process.exitCode = code;
});
exitOverrideAll(program);
// A reader that goes away (`capstan … | head`) ends the program quietly.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else process.exitCode = report(thrown, program.opts<Globals>().verbose === true);
}

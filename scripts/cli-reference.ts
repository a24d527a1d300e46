import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { toProgram } from "../src/cli/program.ts";

/** Where the reference stands. */
export const referenceFile = join(import.meta.dirname, "../docs/cli.md");

const exitCodes = [
  ["0", "done"],
  ["1", "the task failed, or the tool answered an error"],
  ["2", "usage: an unknown command, option or tool, or malformed arguments"],
  ["3", "config, sign-in, or a token that is not good"],
  ["4", "the model's provider is down"],
  ["5", "a limit or a budget is used up"],
  ["6", "refused by policy, and the refusal prevented the result"],
  ["75", "waiting for an approval; the text says which command goes on"],
  ["130", "interrupted"],
] as const;

/** The command line reference, made from the commands' own help. */
export function toReference(): string {
  return [
    "# Command line",
    "",
    "Made from `--help` by `node scripts/cli-reference.ts`; a test compares the two.",
    "",
    "stdout is the answer or the protocol and nothing else; progress, logs and errors go to stderr. In the repository, `npm start --silent -- …` stands for `capstan …`.",
    "",
    "| exit code | meaning |",
    "|---|---|",
    ...exitCodes.map(([code, meaning]) => `| ${code} | ${meaning} |`),
    ...sections(
      toProgram(() => {}),
      [],
    ),
    "",
  ].join("\n");
}

function sections(command: Command, path: readonly string[]): readonly string[] {
  const full = [...path, command.name()];
  command.configureHelp({ helpWidth: 110 });
  const own = ["", `## ${full.join(" ")}`, "", "```", command.helpInformation().trimEnd(), "```"];
  return [...own, ...command.commands.flatMap((sub) => sections(sub, full))];
}

if (import.meta.main) writeFileSync(referenceFile, toReference());

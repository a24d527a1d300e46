import { argumentInWords } from "../permissions/words.ts";
import type { Globals, GrantFlags } from "./command.ts";

/** Where the command finds its token: nowhere, in the file that `--grant` names or the environment, or in what is typed when it is run. */
export type TokenSource = "none" | "same" | "typed";

/**
 * A command to be typed next, with the home, the config and the token that this one was given, and with the named grant, the folders and
 * the tools of `flags`. The text of a token is nothing to print: in its place the command asks for it.
 */
export function toCommandLine(
  globals: Globals,
  words: string,
  flags: GrantFlags = {},
  token: TokenSource = "same",
): string {
  const { home, config } = globals;
  const { as, root = [], write = [], allow = [] } = flags;
  const before = [
    ...toOption("--home", home),
    ...toOption("--config", config),
    ...toOption("--grant", toTokenArgument(globals, token)),
  ];
  const after = Object.entries({ root, write, allow }).flatMap(([name, values]) =>
    values.flatMap((value) => toOption(`--${name}`, value)),
  );
  return ["capstan", ...before, words, ...toOption("--as", as), ...after].join(" ");
}

function toTokenArgument({ grant }: Globals, token: TokenSource): string | undefined {
  if (token !== "same") return token === "typed" ? "-" : undefined;
  return grant === undefined || grant.startsWith("@") ? grant : "-";
}

/** An option as it is typed; nothing where there is no value. */
export function toOption(name: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [name, argumentInWords(value)];
}

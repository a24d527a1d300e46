import { argumentInWords } from "../permissions/words.ts";
import type { Globals, GrantFlags } from "./command.ts";

/**
 * A command to be typed next, with the home and the config that this one was given, and with the named grant, the folders and the tools
 * of `flags`. A token is left out: it is nothing to print.
 */
export function toCommandLine(globals: Globals, words: string, flags: GrantFlags = {}): string {
  const { home, config } = globals;
  const { as, root = [], write = [], allow = [] } = flags;
  const before = [...toOption("--home", home), ...toOption("--config", config)];
  const after = Object.entries({ root, write, allow }).flatMap(([name, values]) =>
    values.flatMap((value) => toOption(`--${name}`, value)),
  );
  return ["capstan", ...before, words, ...toOption("--as", as), ...after].join(" ");
}

/** An option as it is typed; nothing where there is no value. */
export function toOption(name: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [name, argumentInWords(value)];
}

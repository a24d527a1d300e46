import { argumentInWords } from "../permissions/words.ts";
import type { Globals, GrantFlags } from "./command.ts";

/**
 * A command to be typed next, with the home and the config that this one was given, and with the folders and tools that `flags` add
 * to the operator's own grant. A named grant and a token are left out: whoever goes on decides under which.
 */
export function toCommandLine(globals: Globals, words: string, flags: GrantFlags = {}): string {
  const { home, config } = globals;
  const { root = [], write = [], allow = [] } = flags;
  const before = [...toOption("--home", home), ...toOption("--config", config)];
  const after = Object.entries({ root, write, allow }).flatMap(([name, values]) =>
    values.flatMap((value) => toOption(`--${name}`, value)),
  );
  return ["capstan", ...before, words, ...after].join(" ");
}

function toOption(name: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [name, argumentInWords(value)];
}

import type { Command } from "commander";
import { CapstanError } from "../core/error.ts";

/** `capstan completion bash|zsh|fish`: a script that completes commands and options, made from the commands themselves. */
export function toCompletion(program: Command, shell: string): string {
  const words = toWords(program, []);
  switch (shell) {
    case "bash":
      return toBash(words);
    case "zsh":
      return `#compdef capstan\nautoload -U +X bashcompinit && bashcompinit\n${toBash(words)}`;
    case "fish":
      return toFish(words);
    default:
      throw new CapstanError("usage.bad_option", `Completion exists for bash, zsh and fish, not for "${shell}".`);
  }
}

/** What may follow a command: its subcommands and its long options. */
interface Words {
  readonly path: readonly string[];
  readonly next: readonly string[];
}

function toWords(command: Command, path: readonly string[]): readonly Words[] {
  const options = command.options.map(({ long }) => long).filter((long) => typeof long === "string");
  const next = [...command.commands.map((sub) => sub.name()), ...options, "--help"];
  return [{ path, next }, ...command.commands.flatMap((sub) => toWords(sub, [...path, sub.name()]))];
}

function toBash(words: readonly Words[]): string {
  const cases = words
    .toReversed()
    .map(({ path, next }) => `    "${["capstan", ...path].join(" ")}"*) words="${next.join(" ")}" ;;`);
  return [
    "_capstan() {",
    '  local line="${COMP_WORDS[*]:0:COMP_CWORD}" words=""',
    '  case "$line" in',
    ...cases,
    "  esac",
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    "}",
    "complete -o default -F _capstan capstan",
  ].join("\n");
}

function toFish(words: readonly Words[]): string {
  return words
    .flatMap(({ path, next }) =>
      next.map((word) => {
        const seen =
          path.length === 0
            ? "__fish_use_subcommand"
            : path.map((name) => `__fish_seen_subcommand_from ${name}`).join("; and ");
        const what = word.startsWith("--") ? `-l ${word.slice(2)}` : `-a ${word}`;
        return `complete -c capstan -n "${seen}" ${what}`;
      }),
    )
    .join("\n");
}

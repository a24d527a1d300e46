import { CapstanError } from "../core/error.ts";
import { invisible } from "../core/value-in-words.ts";

/** Text as a JSON value; a mistake is told with the form that was expected. Throws `usage.bad_option`. */
export function parseJsonArgument(text: string, example: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : "unreadable";
    throw new CapstanError(
      "usage.bad_option",
      `The arguments are not JSON (${reason}). Expected something like ${example}.`,
      {
        cause,
      },
    );
  }
}

/**
 * A value as the text that `--json` prints: indented, one value. What is invisible, turns text around or moves a cursor stands there as
 * an escape, so that whoever reads a definition of a server sees all of it.
 */
export const toJsonText = (value: unknown): string =>
  JSON.stringify(value, null, 2).replace(new RegExp(invisible, "gu"), (found) =>
    found === "\n" ? found : Array.from({ length: found.length }, (_, at) => toEscape(found.charCodeAt(at))).join(""),
  );

const toEscape = (unit: number): string => `\\u${unit.toString(16).padStart(4, "0")}`;

import { CapstanError } from "../core/error.ts";

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

/** A value as the text that `--json` prints: indented, one value. */
export const toJsonText = (value: unknown): string => JSON.stringify(value, null, 2);

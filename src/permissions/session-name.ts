import { CapstanError } from "../core/error.ts";

/** What a sandbox session may be called. */
export const sessionName = /^[\w.-]{1,64}$/;

/** An entry of `Rights.sessions` as a person names it: a session, or `*` for any of the grant's own. Throws `usage.bad_option`. */
export function parseSession(text: string): string {
  if (text === "*" || sessionName.test(text)) return text;
  throw new CapstanError(
    "usage.bad_option",
    `${JSON.stringify(text.slice(0, 128))} names no session. A name is 1 to 64 letters, digits, _, . and -; * is any of the grant's own.`,
  );
}

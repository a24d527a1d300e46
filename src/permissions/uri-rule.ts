import { CapstanError } from "../core/error.ts";
import type { Constraint } from "./grant.ts";

const maxUriLength = 8192;
const maxDecodings = 4;

/**
 * Control characters, backslashes, encoded dots and slashes, and `..` that is no part of a name: whoever decodes or resolves a URI with
 * one of them may end up elsewhere.
 */
const unsafe = /[\p{Cc}\\]|%(?:2e|2f|5c)|(?<![\p{L}\p{N}._~-])\.\.(?![\p{L}\p{N}._~-])/iu;

/**
 * Whether `uri` is `under` itself or lies below it: it begins with it, and either `under` ends in `/`, in `:` or in `+` (a server's name
 * before its own URIs), or `/`, `?` or `#` comes next. A `:` or `+` in the middle of a host ends nothing. URIs are compared as they
 * are spelled. False when either is unsafe to hand on (see `unsafe`), also after percent-decoding it again and again, when it is
 * encoded badly, or longer than 8,192 characters.
 */
export function isUnderUri(under: string, uri: string): boolean {
  return isPlainUri(under) && isPlainUri(uri) && begins(under, uri);
}

/** Whether some URI that begins with `start` may lie under `under`. It errs to the side of yes. */
export function mayLeadUnder(under: string, start: string): boolean {
  return isPlainUri(under) && (under.startsWith(start) || begins(under, start));
}

/**
 * The rule for resources as a person names them: `capstan://artifacts/`, `github+https://api.example.com/`, `github+`, each with all
 * below it; a `*` at the end of those adds nothing, and `*` alone is any. Throws `usage.bad_option`.
 */
export function parseUriRule(text: string): Constraint {
  if (text === "*") return { type: "any" };
  const under = text.endsWith("*") ? text.slice(0, -1) : text;
  if (isPlainUri(under) && !under.includes("*") && (under === text || endsPart(under))) return { type: "uri", under };
  throw new CapstanError(
    "usage.bad_option",
    `${JSON.stringify(text.slice(0, 200))} names no resources. Write a URI, which stands for all below it too, such as ` +
      "capstan://artifacts/, or * for any; without .. parts, backslashes or encoded dots and slashes.",
  );
}

function begins(under: string, uri: string): boolean {
  return (
    uri.startsWith(under) && (uri.length === under.length || endsPart(under) || /[/?#]/.test(uri.charAt(under.length)))
  );
}

/** `https://host:` is no part of its own: what follows may make it user info of another host. */
function endsPart(under: string): boolean {
  return under.endsWith("/") || (/[:+]$/.test(under) && !/:\/\/[^/?#]+$/.test(under));
}

function isPlainUri(uri: string): boolean {
  if (uri.length > maxUriLength || !/^[a-z][a-z0-9.-]*[:+]/i.test(uri) || unsafe.test(uri)) return false;
  let before = uri;
  let text = decodeStrictly(uri);
  for (let round = 0; round < maxDecodings && text !== null; round++) {
    if (text === before) return true;
    if (unsafe.test(text)) return false;
    before = text;
    text = text.replace(/%([0-7][0-9a-f])/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
  return false;
}

function decodeStrictly(uri: string): string | null {
  try {
    return decodeURIComponent(uri);
  } catch {
    return null;
  }
}

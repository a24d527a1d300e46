import type { Json } from "./json.ts";

/**
 * A compact JWS, which is what Capstan's tokens and most others look like: a JSON header in base64url and two more parts. It begins at
 * the edge of a word only, so that the search takes linear time on any text.
 */
const token = /(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}/g;

/** The text without what looks like a token. A credential that a model or a tool prints is data, and data needs no credential. */
export function redact(text: string): string {
  return text.includes("eyJ") ? text.replace(token, "[redacted token]") : text;
}

/** `redact` for every string in a JSON value; names of fields stay. */
export function redactJson(value: Json): Json {
  if (typeof value === "string") return redact(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(redactJson);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, redactJson(item)]));
}

import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { canonicalJson, deepFreeze } from "../core/json.ts";
import { Grant } from "./grant.ts";
import type { Keys } from "./keys.ts";

/** The largest token that is minted or looked at, in characters. */
const maxTokenLength = 16_384;

/** Our own types, so that no other JWT of any issuer is ever taken for a grant (RFC 8725, section 3.11). */
export type TokenType = "capstan-grant" | "capstan-large-grant";

const Claims = z.strictObject({ iss: z.string(), aud: z.string(), grant: Grant });

/**
 * A flat token: a compact JWS (RFC 7515) by the home's Ed25519 key over the whole grant, for this home alone. Throws
 * `usage.bad_option` for a grant that makes more than 16 kB.
 */
export function mintToken(grant: Grant, keys: Keys): string {
  const token = signClaims("capstan-grant", { grant }, keys);
  if (token.length <= maxTokenLength) return token;
  throw new CapstanError(
    "usage.bad_option",
    `The grant makes a token of ${token.length} characters, and ${maxTokenLength} are the most. Name fewer tools, or save it by name.`,
  );
}

/** Claims of this home for this home, signed, of whatever length. */
export function signClaims(type: TokenType, claims: Readonly<Record<string, unknown>>, keys: Keys): string {
  const payload = canonicalJson({ iss: keys.kid, aud: keys.kid, ...claims });
  const signed = `${headerOf(type, keys)}.${Buffer.from(payload).toString("base64url")}`;
  return `${signed}.${keys.sign(Buffer.from(signed)).toString("base64url")}`;
}

/**
 * The grant of a token, deep-frozen, when this home signed it. Throws `token.malformed`, `token.bad_header`, `token.bad_signature`
 * or `token.bad_audience`. Nothing of the payload is read before the signature is good. Whether the grant is valid now is another
 * question: `demandLive`.
 */
export function verifyToken(token: string, keys: Keys): Grant {
  return deepFreeze(verifyClaims("capstan-grant", token, keys, Claims).grant);
}

/** Whether a token is of this type by its header; nothing is verified. */
export function isOfType(type: TokenType, token: string, keys: Keys): boolean {
  return token.startsWith(`${headerOf(type, keys)}.`);
}

/** The claims of a token of this type. Throws as `verifyToken` does. */
export function verifyClaims<T extends { readonly iss: string; readonly aud: string }>(
  type: TokenType,
  token: string,
  keys: Keys,
  schema: z.ZodType<T>,
): T {
  const parts = token.length > maxTokenLength ? [] : token.split(".");
  const [header, payload, signature] = parts;
  if (header === undefined || payload === undefined || signature === undefined || parts.length !== 3) throw malformed();
  // A header has exactly one lawful spelling, so there is nothing to parse: no `none`, no `jwk`, `jku`, `x5u` or `crit`.
  if (header !== headerOf(type, keys)) throw wrongHeader(header);
  const bytes = decode(signature);
  if (!keys.verify(Buffer.from(`${header}.${payload}`), bytes)) {
    throw new CapstanError(
      "token.bad_signature",
      "The token's signature is wrong: it was changed, or another home signed it.",
    );
  }
  const claims = schema.safeParse(parseJson(decode(payload)));
  if (!claims.success) throw malformed();
  if (claims.data.iss !== keys.kid || claims.data.aud !== keys.kid) {
    throw new CapstanError(
      "token.bad_audience",
      "The token was made for another place. Use one that this home issued.",
    );
  }
  return claims.data;
}

function headerOf(typ: TokenType, { kid }: Keys): string {
  return Buffer.from(JSON.stringify({ alg: "EdDSA", typ, kid })).toString("base64url");
}

/** What is no JSON object was never a token; every other header is refused as one. */
function wrongHeader(header: string): CapstanError {
  const parsed = parseJson(decode(header));
  if (typeof parsed !== "object" || parsed === null) return malformed();
  return new CapstanError(
    "token.bad_header",
    `The token's header is not that of a Capstan grant by this home's key. \`capstan grant create\` makes one.`,
  );
}

/** Base64url in its one spelling: Node's decoder skips what it does not know, so the bytes are spelled again. */
function decode(part: string): Buffer {
  const bytes = Buffer.from(part, "base64url");
  if (bytes.toString("base64url") !== part) throw malformed();
  return bytes;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw malformed();
  }
}

function malformed(): CapstanError {
  return new CapstanError(
    "token.malformed",
    `That is no token: three base64url parts with dots between, at most ${maxTokenLength} characters. \`capstan grant create\` prints one.`,
  );
}

import type { IncomingMessage } from "node:http";
import { type ErrorCode, toCapstanError } from "../../../core/error.ts";
import type { Grant } from "../../../permissions/grant.ts";
import { meet } from "../../../permissions/meet.ts";
import type { Permissions } from "../../../permissions/permissions.ts";
import type { GrantFor } from "../grants.ts";

/** The token of a request, from its Authorization header alone; null where there is none. */
export function readBearer({ headers }: IncomingMessage): string | null {
  return /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i.exec(headers.authorization ?? "")?.[1] ?? null;
}

/** What a refusal says to do (RFC 6750, section 3; RFC 9728, section 5.1). */
export function toChallenge(metadataUrl: string, error?: "invalid_token" | "insufficient_scope"): string {
  const about = error === undefined ? "" : `error="${error}", `;
  return `Bearer ${about}resource_metadata="${metadataUrl}"`;
}

/**
 * The grant of each message that came over HTTP: that of the bearer token it came with, met with what the process was started with, and
 * with a token in `_meta` where there is one, which can only narrow. Throws `token.malformed` without a bearer.
 */
export function toBearerGrants(grantFor: GrantFor, permissions: Permissions): GrantFor {
  return async (presented, asked, bearer = "") => {
    const grant = await grantFor(bearer, asked);
    if (presented === undefined) return grant;
    return meet(grant, await grantFor(presented, asked), { now: permissions.now() });
  };
}

/** The grant of a token that is good now, else what is wrong with it. */
export async function verifyBearer(permissions: Permissions, token: string | null): Promise<Grant | ErrorCode> {
  if (token === null) return "token.malformed";
  try {
    return await permissions.verify(token);
  } catch (thrown) {
    const { code } = toCapstanError(thrown);
    if (code.startsWith("token.")) return code;
    throw thrown;
  }
}

import type { IncomingMessage } from "node:http";
import { toCapstanError } from "../../core/error.ts";
import { meet } from "../../permissions/meet.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { GrantFor } from "./grants.ts";

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
 * The grant of each message of a request that came with a bearer token: that token's, met with what the process was started with, and
 * with a token in `_meta` where there is one, which can only narrow.
 */
export function toBearerGrants(grantFor: GrantFor, permissions: Permissions, bearer: string): GrantFor {
  return async (presented, asked) => {
    const grant = await grantFor(bearer, asked);
    if (presented === undefined) return grant;
    return meet(grant, await grantFor(presented, asked), { now: permissions.now() });
  };
}

/** Whether a token is good now. */
export async function isGood(permissions: Permissions, token: string): Promise<boolean> {
  try {
    await permissions.verify(token);
    return true;
  } catch (thrown) {
    if (toCapstanError(thrown).code.startsWith("token.")) return false;
    throw thrown;
  }
}

import { CapstanError, toCapstanError } from "../../core/error.ts";
import type { Grant } from "../../permissions/grant.ts";
import { meet } from "../../permissions/meet.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { RecordRefusal, Refusal } from "./refusal.ts";

/** Where a request of either era may present a token (`params._meta`). */
export const grantKey = "dev.capstan/grant";

/** How many tokens a process remembers what they come to; the oldest is worked out again. */
const maxRemembered = 256;

/** What a process was started with. */
export interface ProcessGrant {
  readonly grant: Grant;
  /**
   * True where a token, a name or flags made the grant: then a request's own token can only narrow it. False for the operator's
   * default, which counts only where a request presents nothing.
   */
  readonly isExplicit: boolean;
}

/**
 * The grant under which one request acts, live at this moment. `presented` is what stood at `grantKey`; undefined: nothing did.
 * `bearer` is the token of the HTTP request that carried it.
 */
export type GrantFor = (presented: unknown, asked: Pick<Refusal, "action" | "name">, bearer?: string) => Promise<Grant>;

/**
 * Decides which grant applies to a request: what it presents, met with what the process was started with. Whatever is presented and is
 * no valid token throws (`token.*`) and is recorded: nothing falls back.
 */
export function openGrants(permissions: Permissions, own: ProcessGrant, recordRefusal: RecordRefusal): GrantFor {
  const met = new Map<string, Grant>();

  async function toGrant(presented: unknown): Promise<Grant> {
    if (presented === undefined) return own.grant;
    if (typeof presented !== "string" || presented === "") {
      throw new CapstanError("token.malformed", `_meta["${grantKey}"] must be a token. Leave it out or send one.`);
    }
    const grant = await permissions.verify(presented);
    return own.isExplicit ? meetOwn(presented, grant) : grant;
  }

  function meetOwn(token: string, grant: Grant): Grant {
    const known = met.get(token);
    if (known !== undefined) return known;
    const meeting = meet(own.grant, grant, { now: permissions.now() });
    const [oldest] = met.keys();
    if (oldest !== undefined && met.size >= maxRemembered) met.delete(oldest);
    met.set(token, meeting);
    return meeting;
  }

  return async (presented, asked) => {
    try {
      await permissions.refresh();
      const grant = await toGrant(presented);
      permissions.demandLive(grant);
      return grant;
    } catch (thrown) {
      const refusal = toCapstanError(thrown);
      await recordRefusal({ ...asked, code: refusal.code, ...(presented === undefined ? { grant: own.grant } : {}) });
      throw refusal;
    }
  };
}

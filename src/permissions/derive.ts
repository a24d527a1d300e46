import { CapstanError } from "../core/error.ts";
import { deepFreeze } from "../core/json.ts";
import { demandTime } from "./demand.ts";
import { Grant, GrantRequest, mostRights } from "./grant.ts";
import { findWidenedLimit, findWidenedRight } from "./widening.ts";

/** As many ancestors as a grant may carry: each is charged and checked for revocation on every call. */
export const maxAncestors = 16;

/**
 * The child of `parent` that `request` describes, deep-frozen: it never allows what the parent denies, lies in the parent's scope,
 * belongs to its principal, and is charged on the parent and all above it. The request is complete: a constraint, pin, flag or limit
 * that it leaves out is a widening. Throws `permission.widen` naming the first part that asks for more (or is no lawful value),
 * `permission.unknown_constraint`, and `token.expired` or `token.not_yet_valid` for a parent that is not valid at `made.now` (ms).
 * It does not ask whether the parent is revoked: `demandLive` does, before and whenever the child is used.
 */
export function derive(
  parent: Grant,
  request: GrantRequest,
  made: { readonly id: string; readonly now: number },
): Grant {
  demandTime(parent, made.now);
  return deriveNarrowed(parent, parseRequest(request), made);
}

/**
 * The same for a request that is data of our own, as `narrow` makes it of the parent's: it is not parsed, and shares with the parent what
 * it leaves as it is.
 */
export function deriveNarrowed(
  parent: Grant,
  asked: GrantRequest,
  made: { readonly id: string; readonly now: number },
): Grant {
  demandTime(parent, made.now);
  demandSizes(asked);
  const part = findWidened(parent, asked);
  if (part !== null) throw widened(part);
  const run = asked.run ?? parent.run;
  return deepFreeze({
    id: made.id,
    ancestors: [...parent.ancestors, { id: parent.id, limits: parent.limits }],
    principal: parent.principal,
    scope: parent.scope,
    ...(run === undefined ? {} : { run }),
    issuedAt: made.now,
    notBefore: made.now,
    expiresAt: asked.expiresAt,
    epoch: parent.epoch,
    delegations: asked.delegations,
    rights: asked.rights,
    limits: asked.limits,
  });
}

/** What is not parsed is measured: an operator may name more than a grant can hold. */
function demandSizes({ rights }: GrantRequest): void {
  for (const name of listsOfRights) {
    const [has, most] = [rights[name].length, mostRights[name]];
    if (has > most) throw widened(`rights.${name}`, `it has ${has} entries, and ${most} are the most`);
  }
}

const listsOfRights = ["tools", "approve", "prompts", "resources", "read", "write", "net", "sessions"] as const;

function findWidened(parent: Grant, asked: GrantRequest): string | null {
  if (asked.delegations >= parent.delegations || parent.ancestors.length >= maxAncestors) return "delegations";
  if (asked.expiresAt > parent.expiresAt) return "expiresAt";
  if (parent.run !== undefined && asked.run !== parent.run) return "run";
  if (mayOutlive(parent, asked)) return "limits.runMs";
  return findWidenedLimit(parent.limits, asked.limits) ?? findWidenedRight(parent.rights, asked.rights);
}

/** Whether a run of the child could go on after the parent has ended, which a parent that names no `runMs` does not allow. */
function mayOutlive(parent: Grant, { expiresAt, limits }: GrantRequest): boolean {
  return parent.limits.runMs === undefined && limits.runMs !== undefined && expiresAt + limits.runMs > parent.expiresAt;
}

/** The request as data of our own: what is checked here is what the grant will hold, whatever the caller does to its object. */
function parseRequest(request: GrantRequest): GrantRequest {
  const parsed = GrantRequest.safeParse(request);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const part = issue?.path.join(".") || "the request";
  if (issue?.code === "invalid_union" && issue.discriminator === "type") {
    throw new CapstanError(
      "permission.unknown_constraint",
      `No grant can be derived: ${part} is no kind of constraint that Capstan knows. ${issue.message}.`,
      { details: { part } },
    );
  }
  throw widened(part, issue?.message);
}

function widened(
  part: string,
  problem = "it asks for more than the parent grant holds, or leaves out what narrows it",
): CapstanError {
  return new CapstanError(
    "permission.widen",
    `No grant can be derived, because of ${part}: ${problem}. Ask for less; \`capstan grant show\` tells what the parent holds.`,
    { details: { part } },
  );
}

import { CapstanError, toCapstanError } from "../core/error.ts";
import { newId } from "../core/id.ts";
import { runPrefix } from "../host/run-resources.ts";
import { mayAllowText } from "../permissions/constraint.ts";
import { derive } from "../permissions/derive.ts";
import { describeGrant, summarizeGrant } from "../permissions/describe.ts";
import type { Grant, Rights } from "../permissions/grant.ts";
import { meet } from "../permissions/meet.ts";
import type { NarrowOptions } from "../permissions/narrow.ts";
import { narrow, nothing } from "../permissions/narrow.ts";
import { rootGrant } from "../permissions/operator.ts";
import { parseUriRule } from "../permissions/uri-rule.ts";
import type { AuditEntry } from "../store/store.ts";
import { languagesOf } from "../tools/execute-code/engine.ts";
import type { ExitCode, Session } from "./command.ts";
import type { GrantOptions } from "./grant-options.ts";
import { toNarrowing } from "./grant-options.ts";
import { toJsonText } from "./json.ts";
import { readTokenArgument } from "./token-source.ts";

const defaultTtlMs = 15 * 60_000;
/** The id of what every token and every named grant is made from. */
export const rootId = "root";
/** A named grant stays in the home and ends by revocation; this only bounds what is forgotten. */
const namedTtlMs = 10 * 365 * 24 * 60 * 60_000;

/** `capstan grant create`: a token from the operator's authority, or from the grant that this process runs under. */
export async function createGrant(session: Session, options: GrantOptions): Promise<ExitCode> {
  const { permissions, principal, scope, toolNames } = session.app;
  if ([options.allow, options.resource, options.prompt].every((named) => named === undefined)) {
    throw new CapstanError(
      "usage.bad_option",
      "Say what the grant is for: --allow TOOL (`capstan tools ls` lists them), --resource URI or --prompt NAME.",
    );
  }
  await permissions.refresh();
  const now = permissions.now();
  const root = { id: rootId, now, principal, scope, epoch: permissions.epoch(principal) };
  const parent = session.confined ? await session.grant() : rootGrant(root, toolNames);
  const ttlMs = options.name === undefined ? defaultTtlMs : namedTtlMs;
  // A new grant holds what its options name, and may start runs, which hold no more than it does. Reading those goes with the right to
  // their resources.
  return await issue(
    session,
    parent,
    { ttlMs, ...nothing, runs: toRuns(options), ...(await optionsOf(options, session)) },
    options.name,
  );
}

function toRuns({ resource = [] }: GrantOptions): Rights["runs"] {
  const isRead = resource.some((uri) => mayAllowText(parseUriRule(uri), runPrefix));
  return isRead ? ["create", "read"] : ["create"];
}

/** `capstan grant derive TOKEN`: a smaller token; asking for more than the parent has is refused. */
export async function deriveGrant(session: Session, token: string, options: GrantOptions): Promise<ExitCode> {
  const { permissions } = session.app;
  const given = await permissions.verify(await readTokenArgument(token));
  const parent = session.confined ? meet(given, await session.grant(), { now: permissions.now() }) : given;
  return await issue(session, parent, await optionsOf(options, session), options.name);
}

async function issue(
  session: Session,
  parent: Grant,
  options: NarrowOptions,
  name: string | undefined,
): Promise<ExitCode> {
  const { app, print, tell } = session;
  const { permissions } = app;
  // A name lasts in the home, where only the operator leaves things.
  if (name !== undefined) session.demandOperator();
  const grant = await make(session, parent, options);
  if (name === undefined) {
    tell(summarizeGrant(grant));
    print(await permissions.issue(grant));
    return 0;
  }
  await permissions.named.save(name, grant);
  tell(summarizeGrant(grant));
  tell(`Saved. Use it with: ${session.commandLine(`serve --as ${name}`)}`);
  return 0;
}

/** Derives a grant; that it was made, or why not, is on record first. */
async function make({ app }: Session, parent: Grant, options: NarrowOptions): Promise<Grant> {
  const { permissions, toolNames, store, scope } = app;
  const now = permissions.now();
  const id = newId("grant");
  try {
    const grant = derive(parent, narrow(parent, options, toolNames, now), { id, now });
    await store.commit({ scope, audit: [toAudit(grant, id, now)] });
    return grant;
  } catch (thrown) {
    const reason = toCapstanError(thrown).code;
    await store.commit({ scope, audit: [{ ...toAudit(parent, id, now), decision: "deny", reason }] });
    throw thrown;
  }
}

const optionsOf = (options: GrantOptions, { app }: Session): Promise<NarrowOptions> =>
  toNarrowing(options, languagesOf(app.engines));

/** `capstan grant show [TOKEN|NAME]`: sentences that a person can check; without an argument, the grant of this process. */
export async function showGrant(
  session: Session,
  what: string | undefined,
  options: { json?: boolean },
): Promise<ExitCode> {
  const grant = what === undefined ? await session.grant() : await find(session, what);
  const { permissions } = session.app;
  if (options.json === true) session.print(toJsonText(grant));
  else for (const line of [summarizeGrant(grant), "", ...describeGrant(grant, permissions.now())]) session.print(line);
  return 0;
}

/** `capstan grant verify TOKEN`: exit code 0 where it is good now, 3 and the reason where it is not. */
export async function verifyGrant(session: Session, token: string): Promise<ExitCode> {
  const grant = await find(session, token);
  session.print(`good until ${new Date(grant.expiresAt).toISOString()}, id ${grant.id}`);
  return 0;
}

/** `capstan grant revoke TOKEN|NAME|ID` or `--all`: it and all that was derived from it end, everywhere within 5 seconds. */
export async function revokeGrant(
  session: Session,
  what: string | undefined,
  options: { all?: boolean },
): Promise<ExitCode> {
  session.demandOperator();
  const { permissions, principal } = session.app;
  if (options.all === true) {
    await permissions.revokeAll(principal);
    session.tell("Every grant made until now has ended.");
    return 0;
  }
  if (what === undefined)
    throw new CapstanError("usage.bad_option", "Say which grant: a token, @FILE, a name or an id, or --all.");
  const id = /^grant_[0-9a-f]{32}$/.test(what) ? what : (await find(session, what)).id;
  await permissions.revoke(id, "revoked on the command line");
  session.tell(`Revoked ${id} and all that was derived from it.`);
  return 0;
}

/** A token has two dots or stands in a file; everything else is a name. The found grant must be good now. */
async function find(session: Session, what: string): Promise<Grant> {
  const { permissions } = session.app;
  await permissions.refresh();
  const isToken = what === "-" || what.startsWith("@") || what.includes(".");
  if (!isToken) session.demandOperator();
  const grant = isToken ? await permissions.verify(await readTokenArgument(what)) : await permissions.named.get(what);
  permissions.demandLive(grant);
  return grant;
}

function toAudit(grant: Grant, name: string, at: number): AuditEntry {
  return {
    at,
    scope: grant.scope,
    user: grant.principal.user,
    grantId: grant.id,
    ancestors: grant.ancestors.map(({ id }) => id),
    callId: newId("call"),
    action: "grant/create",
    name,
    taint: [],
    decision: "allow",
  };
}

import { CapstanError } from "../core/error.ts";
import { isolationLevels } from "../core/isolation.ts";
import { deepFreeze, sha256 } from "../core/json.ts";
import type { Limits } from "../core/limits.ts";
import { ceilingNames, counterNames } from "../core/limits.ts";
import { meetConstraints, isSatisfiable } from "./constraint.ts";
import { maxAncestors } from "./derive.ts";
import type { ArgumentRule, Grant, Rights, ToolRight, UrlRule } from "./grant.ts";
import { isUnder } from "./path-rule.ts";
import { meetPrompts } from "./prompt-rule.ts";
import type { IndexedRight } from "./right-index.ts";
import { acceptsAbsence, rightNamed } from "./right-index.ts";
import { meetUrls } from "./url-rule.ts";

/** As many items as a list of rights may have (`Rights`); what a meet finds beyond it is left out, which allows less. */
const maxItems = 64;
const maxPrompts = 256;

/**
 * The grant that allows what both allow: what a request presents, met with what the process was started with. It is charged on both
 * lineages, dies with the revocation of any of them, and is deep-frozen. Both must belong to the same principal and scope
 * (`token.other_scope`) and to the same run where both name one (`token.other_run`); lineages of more than 16 throw
 * `permission.widen`. Without `made.id` the id follows from the two ids, so that what is kept by id stays with the pair.
 */
export function meet(a: Grant, b: Grant, made: { readonly id?: string; readonly now: number }): Grant {
  demandSameOwner(a, b);
  const run = a.run ?? b.run;
  const expiresAt = Math.min(a.expiresAt, b.expiresAt);
  return deepFreeze({
    id: made.id ?? `meet_${sha256(JSON.stringify([a.id, b.id])).slice(0, 32)}`,
    ancestors: meetLineages(a, b),
    met: [...new Set([...(a.met ?? [a.id]), ...(b.met ?? [b.id])])],
    principal: a.principal,
    scope: a.scope,
    ...(run === undefined ? {} : { run }),
    issuedAt: made.now,
    notBefore: Math.max(a.notBefore, b.notBefore),
    expiresAt,
    epoch: Math.min(a.epoch, b.epoch),
    delegations: Math.min(a.delegations, b.delegations),
    rights: meetRights(a.rights, b.rights),
    limits: { ...meetLimits(a.limits, b.limits), ...meetRunMs(a, b, expiresAt) },
  });
}

function demandSameOwner(a: Grant, b: Grant): void {
  const isSame =
    a.principal.org === b.principal.org &&
    a.principal.user === b.principal.user &&
    a.scope.org === b.scope.org &&
    a.scope.project === b.scope.project;
  if (!isSame) {
    throw new CapstanError(
      "token.other_scope",
      "The two grants belong to different owners. Use the grants of one owner.",
    );
  }
  if (a.run !== undefined && b.run !== undefined && a.run !== b.run) {
    throw new CapstanError(
      "token.other_run",
      "The two grants were made for different runs. Use the grants of one run.",
    );
  }
}

function meetLineages(a: Grant, b: Grant): Grant["ancestors"] {
  const byId = new Map<string, Grant["ancestors"][number]>();
  for (const { id, limits } of [...a.ancestors, a, ...b.ancestors, b]) byId.set(id, { id, limits });
  if (byId.size <= maxAncestors) return [...byId.values()];
  throw new CapstanError(
    "permission.widen",
    `The two grants have ${byId.size} ancestors together, and ${maxAncestors} are the most. Use grants that were derived fewer times.`,
    { details: { part: "ancestors" } },
  );
}

function meetRights(a: Rights, b: Rights): Rights {
  const weakest = Math.max(isolationLevels.indexOf(a.isolation), isolationLevels.indexOf(b.isolation));
  return {
    tools: a.tools.flatMap(({ name }) => meetTools(rightNamed(a, name), rightNamed(b, name)) ?? []),
    resources: pairs(a.resources, b.resources, meetConstraints).filter(isSatisfiable).slice(0, maxItems),
    prompts: [...new Set(pairs(a.prompts, b.prompts, meetPrompts).filter((entry) => entry !== null))].slice(
      0,
      maxPrompts,
    ),
    read: meetFolders(a.read, b.read),
    write: meetFolders(a.write, b.write),
    net: pairs(a.net, b.net, meetUrls)
      .filter((rule): rule is UrlRule => rule !== null)
      .slice(0, maxItems),
    runs: a.runs.filter((action) => b.runs.includes(action)),
    sessions: meetSessions(a.sessions, b.sessions),
    approve: [...new Set(a.approve).intersection(new Set(b.approve))],
    isolation: isolationLevels[weakest] ?? "user-space-kernel",
  };
}

/** null where no call is left that both rights allow. */
function meetTools(a: IndexedRight | undefined, b: IndexedRight | undefined): ToolRight | null {
  if (a === undefined || b === undefined || a.right.pin !== b.right.pin) return null;
  const args = meetArguments(a.rules, b.rules);
  if (args?.some((argument) => !acceptsAbsence(argument) && !isSatisfiable(argument.rule)) === true) return null;
  return {
    name: a.right.name,
    pin: a.right.pin,
    ...(args === undefined ? {} : { args }),
    ask: a.right.ask || b.right.ask,
    tainted: a.right.tainted && b.right.tainted,
  };
}

type Rules = IndexedRight["rules"];

/** undefined where both allow any arguments. What one names and the other's closed world refuses can only be left out. */
function meetArguments(a: Rules, b: Rules): ArgumentRule[] | undefined {
  if (a === null || b === null) {
    const rules = a ?? b;
    return rules === null ? undefined : [...rules.values()];
  }
  const names = new Set([...a.keys(), ...b.keys()]);
  return [...names].flatMap((name) => {
    const one = a.get(name);
    const two = b.get(name);
    if (one !== undefined && two !== undefined) {
      return { name, rule: meetConstraints(one.rule, two.rule), optional: acceptsAbsence(one) && acceptsAbsence(two) };
    }
    const only = one ?? two;
    return only === undefined || acceptsAbsence(only)
      ? []
      : { name, rule: { type: "one_of", values: [] }, optional: false };
  });
}

/** The folders of either list that lie within one of the other. */
function meetFolders(a: readonly string[], b: readonly string[]): string[] {
  const within = (folder: string, others: readonly string[]): boolean => others.some((other) => isUnder(other, folder));
  const met = [...a.filter((folder) => within(folder, b)), ...b.filter((folder) => within(folder, a))];
  return [...new Set(met)].slice(0, maxItems);
}

function meetSessions(a: readonly string[], b: readonly string[]): string[] {
  if (a.includes("*")) return [...b];
  return b.includes("*") ? [...a] : a.filter((name) => b.includes(name));
}

function meetLimits(a: Limits, b: Limits): Limits {
  const met: { -readonly [Key in keyof Limits]: Limits[Key] } = {};
  for (const name of [...counterNames, ...ceilingNames]) {
    const cap = Math.min(a[name] ?? Infinity, b[name] ?? Infinity);
    if (cap !== Infinity) met[name] = cap;
  }
  return met;
}

/** A run may outlive the meet where both allow that; a grant that names no `runMs` allows it until its own end. */
function meetRunMs(a: Grant, b: Grant, expiresAt: number): Pick<Limits, "runMs"> {
  if (a.limits.runMs === undefined && b.limits.runMs === undefined) return {};
  const mostOf = (grant: Grant): number => grant.limits.runMs ?? grant.expiresAt - expiresAt;
  return { runMs: Math.min(mostOf(a), mostOf(b)) };
}

function pairs<T, R>(a: readonly T[], b: readonly T[], combine: (a: T, b: T) => R): R[] {
  return a.flatMap((one) => b.map((two) => combine(one, two)));
}

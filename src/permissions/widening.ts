import { isolationLevels } from "../core/isolation.ts";
import type { Limits } from "../core/limits.ts";
import { ceilingNames, counterNames } from "../core/limits.ts";
import { coversConstraint } from "./constraint.ts";
import type { Rights, ToolRight } from "./grant.ts";
import { isUnder } from "./path-rule.ts";
import { coversPrompt } from "./prompt-rule.ts";
import type { IndexedRight } from "./right-index.ts";
import { acceptsAbsence, rightNamed } from "./right-index.ts";
import { coversUrl } from "./url-rule.ts";

/**
 * The first part of `child` that allows something that `parent` denies, as a path such as `rights.tools.fs_list.args.path`; null when
 * there is none. Each item of a child's list must lie within one item of the parent's.
 */
export function findWidenedRight(parent: Rights, child: Rights): string | null {
  for (const right of child.tools) {
    const part = findWidenedTool(rightNamed(parent, right.name), right);
    if (part !== null) return `rights.tools.${right.name}${part}`;
  }
  const within: { readonly [Key in Exclude<keyof Rights, "tools">]: boolean } = {
    resources: everyWithin(child.resources, parent.resources, coversConstraint),
    prompts: everyWithin(child.prompts, parent.prompts, coversPrompt),
    read: everyWithin(child.read, parent.read, isUnder),
    write: everyWithin(child.write, parent.write, isUnder),
    net: everyWithin(child.net, parent.net, coversUrl),
    runs: everyWithin(child.runs, parent.runs, isSame),
    sessions: parent.sessions.includes("*") || everyWithin(child.sessions, parent.sessions, isSame),
    approve: new Set(child.approve).isSubsetOf(new Set(parent.approve)),
    isolation: isolationLevels.indexOf(child.isolation) >= isolationLevels.indexOf(parent.isolation),
  };
  const widened = Object.entries(within).find(([, isWithin]) => !isWithin);
  return widened === undefined ? null : `rights.${widened[0]}`;
}

/** The first limit of `parent` that `child` leaves out or raises, as `limits.calls`; null when there is none. */
export function findWidenedLimit(parent: Limits, child: Limits): string | null {
  for (const name of [...counterNames, ...ceilingNames]) {
    const cap = parent[name];
    const asked = child[name];
    if (cap !== undefined && !(asked !== undefined && asked <= cap)) return `limits.${name}`;
  }
  return null;
}

/** `""` for the right as a whole, `.args.x`, `.ask` or `.tainted`; null when the child's right lies within the parent's. */
function findWidenedTool(parent: IndexedRight | undefined, child: ToolRight): string | null {
  if (parent === undefined) return "";
  if (child.pin !== parent.right.pin) return ".pin";
  if (parent.right.ask && !child.ask) return ".ask";
  if (child.tainted && !parent.right.tainted) return ".tainted";
  if (parent.rules === null) return null;
  if (child.args === undefined) return ".args";
  for (const argument of child.args) {
    const rule = parent.rules.get(argument.name);
    const isWithin =
      rule !== undefined &&
      coversConstraint(rule.rule, argument.rule) &&
      (acceptsAbsence(rule) || !acceptsAbsence(argument));
    if (!isWithin) return `.args.${argument.name}`;
  }
  // What the child does not name can't be given: that lies within the parent only where the parent lets it be left out.
  const named = new Set(child.args.map((argument) => argument.name));
  const dropped = parent.rules.values().find((rule) => !acceptsAbsence(rule) && !named.has(rule.name));
  return dropped === undefined ? null : `.args.${dropped.name}`;
}

function everyWithin<T>(child: readonly T[], parent: readonly T[], covers: (parent: T, child: T) => boolean): boolean {
  return child.every((item) => parent.some((above) => covers(above, item)));
}

const isSame = (a: string, b: string): boolean => a === b;

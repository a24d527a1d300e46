import { deepFreeze } from "../core/json.ts";
import { isSatisfiable } from "./constraint.ts";
import type { ArgumentRule, Rights, ToolRight } from "./grant.ts";

/** A tool's right, ready to decide calls. `rules` is null where any arguments do; `usable` tells whether some arguments would do. */
export interface IndexedRight {
  readonly right: ToolRight;
  readonly rules: ReadonlyMap<string, ArgumentRule> | null;
  readonly usable: boolean;
}

type RightIndex = ReadonlyMap<string, IndexedRight>;

/** Rights never change once they are indexed: indexing freezes them. */
const indexes = new WeakMap<Rights, RightIndex>();

/** The right to a tool of exactly this name. Of two rights, or two rules of one argument, the first counts, here and everywhere. */
export function rightNamed(rights: Rights, name: string): IndexedRight | undefined {
  let index = indexes.get(rights);
  if (index === undefined) {
    index = toIndex(deepFreeze(rights));
    indexes.set(rights, index);
  }
  return index.get(name);
}

/** Whether a call may leave the argument out. */
export function acceptsAbsence(argument: ArgumentRule): boolean {
  return argument.optional || argument.rule.type === "any";
}

function toIndex(rights: Rights): RightIndex {
  const index = new Map<string, IndexedRight>();
  for (const right of rights.tools) {
    if (index.has(right.name)) continue;
    const rules = right.args === undefined ? null : toRules(right.args);
    const usable = rules === null || rules.values().every((rule) => acceptsAbsence(rule) || isSatisfiable(rule.rule));
    index.set(right.name, { right, rules, usable });
  }
  return index;
}

function toRules(args: readonly ArgumentRule[]): ReadonlyMap<string, ArgumentRule> {
  const rules = new Map<string, ArgumentRule>();
  for (const argument of args) if (!rules.has(argument.name)) rules.set(argument.name, argument);
  return rules;
}

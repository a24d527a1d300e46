import type { Constraint } from "./grant.ts";
import { isUnder, pathParts } from "./path-rule.ts";
import { isUnderUri, mayLeadUnder } from "./uri-rule.ts";
import { checkUrl, coversUrl, meetUrls } from "./url-rule.ts";

type Scalar = string | number | boolean | null;

/** What no value satisfies. */
const never: Constraint = { type: "one_of", values: [] };

/**
 * Whether a value satisfies a rule. Types are never converted: `"5"`, `[5]` and NaN are no numbers. A `subset` is a set: each of its
 * values at most once. An unknown kind denies.
 */
export function checkConstraint(rule: Constraint, value: unknown): boolean {
  switch (rule.type) {
    case "any":
      return true;
    case "exact":
      return value === rule.value;
    case "one_of":
      return rule.values.some((allowed) => allowed === value);
    case "range":
      return typeof value === "number" && Number.isFinite(value) && value >= rule.min && value <= rule.max;
    case "string":
      return typeof value === "string" && value.length <= rule.maxLength;
    case "path":
      return typeof value === "string" && isUnder(rule.under, value);
    case "uri":
      return typeof value === "string" && isUnderUri(rule.under, value);
    case "url":
      return typeof value === "string" && checkUrl(rule, value);
    case "each":
      return (
        Array.isArray(value) && value.length <= rule.max && everyItem(value, (item) => checkConstraint(rule.of, item))
      );
    case "subset":
      return (
        Array.isArray(value) &&
        value.length <= rule.values.length &&
        new Set(value).size === value.length &&
        everyItem(value, (item) => rule.values.some((allowed) => allowed === item))
      );
    default:
      return false;
  }
}

/**
 * Whether every value that `child` allows is allowed by `parent`. It errs to the side of no: a pair of kinds that it does not know
 * how to compare is not covered. An unknown kind covers nothing and is covered by nothing.
 */
export function coversConstraint(parent: Constraint, child: Constraint): boolean {
  switch (child.type) {
    case "any":
      return parent.type === "any";
    case "exact":
      return checkConstraint(parent, child.value);
    case "one_of":
      return child.values.every((value) => checkConstraint(parent, value));
    case "range":
      return parent.type === "any" || (parent.type === "range" && parent.min <= child.min && child.max <= parent.max);
    case "string":
      return parent.type === "any" || (parent.type === "string" && child.maxLength <= parent.maxLength);
    case "path":
      return parent.type === "any" || (parent.type === "path" && isUnder(parent.under, child.under));
    case "uri":
      return parent.type === "any" || (parent.type === "uri" && isUnderUri(parent.under, child.under));
    case "url":
      return parent.type === "any" || (parent.type === "url" && coversUrl(parent, child));
    case "each":
      if (parent.type === "any") return coversConstraint(parent, child.of);
      return parent.type === "each" && child.max <= parent.max && coversConstraint(parent.of, child.of);
    case "subset":
      if (parent.type === "any") return true;
      if (parent.type === "subset") return child.values.every((value) => parent.values.includes(value));
      return parent.type === "each" && child.values.length <= parent.max && allOf(parent.of, child.values);
    default:
      return false;
  }
}

/**
 * A rule that allows nothing that either denies, and all that both allow where they are of comparable kinds; where they are not, it
 * allows nothing (`one_of` of no values), which is always safe.
 */
export function meetConstraints(a: Constraint, b: Constraint): Constraint {
  if (coversConstraint(a, b)) return b;
  if (coversConstraint(b, a)) return a;
  const finite = finiteValues(a) ?? finiteValues(b);
  if (finite !== null) {
    return { type: "one_of", values: finite.filter((value) => checkConstraint(a, value) && checkConstraint(b, value)) };
  }
  if (a.type === "range" && b.type === "range") {
    const met = { type: "range", min: Math.max(a.min, b.min), max: Math.min(a.max, b.max) } as const;
    return met.min <= met.max ? met : never;
  }
  if (a.type === "url" && b.type === "url") {
    const met = meetUrls(a, b);
    return met === null ? never : { type: "url", ...met };
  }
  if (a.type === "each" && b.type === "each") {
    return { type: "each", of: meetConstraints(a.of, b.of), max: Math.min(a.max, b.max) };
  }
  if (a.type === "subset") return meetSubset(a.values, b);
  if (b.type === "subset") return meetSubset(b.values, a);
  return never;
}

/** Whether some value satisfies the rule. A rule of an unknown kind, or one whose bounds exclude each other, has none. */
export function isSatisfiable(rule: Constraint): boolean {
  switch (rule.type) {
    case "one_of":
      return rule.values.length > 0;
    case "range":
      return rule.min <= rule.max;
    case "path":
      return pathParts(rule.under) !== null;
    case "uri":
      return isUnderUri(rule.under, rule.under);
    case "url":
      return rule.hosts.length > 0 && rule.schemes.length > 0;
    case "any":
    case "exact":
    case "string":
    case "each":
    case "subset":
      return true;
    default:
      return false;
  }
}

/** Whether the rule may allow some text that begins with `start`. It errs to the side of yes, never to that of no. */
export function mayAllowText(rule: Constraint, start: string): boolean {
  switch (rule.type) {
    case "any":
    case "url":
      return true;
    case "exact":
    case "one_of":
      return (finiteValues(rule) ?? []).some((value) => typeof value === "string" && value.startsWith(start));
    case "string":
      return start.length <= rule.maxLength;
    case "path":
      return start === "" || start.startsWith("/");
    case "uri":
      return mayLeadUnder(rule.under, start);
    default:
      return false;
  }
}

function finiteValues(rule: Constraint): readonly Scalar[] | null {
  if (rule.type === "exact") return [rule.value];
  return rule.type === "one_of" ? rule.values : null;
}

function meetSubset(values: readonly Scalar[], other: Constraint): Constraint {
  if (other.type === "subset")
    return { type: "subset", values: values.filter((value) => other.values.includes(value)) };
  if (other.type !== "each") return never;
  const both = values.filter((value) => checkConstraint(other.of, value));
  return both.length <= other.max ? { type: "subset", values: both } : never;
}

function allOf(rule: Constraint, values: readonly Scalar[]): boolean {
  return values.every((value) => checkConstraint(rule, value));
}

/** Array.every by index, so that the holes of a sparse array are looked at. */
function everyItem(value: readonly unknown[], check: (item: unknown) => boolean): boolean {
  for (let at = 0; at < value.length; at++) if (!check(value[at])) return false;
  return true;
}

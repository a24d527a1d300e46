import { invisible, quote } from "../core/value-in-words.ts";
import type { Constraint, UrlRule } from "./grant.ts";

/** A rule in words that fit behind "must be" and behind a colon; whole, nothing is cut. */
export function ruleInWords(rule: Constraint): string {
  switch (rule.type) {
    case "any":
      return "anything";
    case "exact":
      return `exactly ${scalarInWords(rule.value)}`;
    case "one_of":
      return rule.values.length === 0 ? "nothing at all" : `one of ${rule.values.map(scalarInWords).join(", ")}`;
    case "range":
      return `a number from ${rule.min} to ${rule.max}`;
    case "string":
      return `a text of at most ${rule.maxLength} characters`;
    case "path":
      return `a path under ${quote(rule.under)}`;
    case "uri":
      return `the URI ${quote(rule.under)} or one below it`;
    case "url":
      return `a URL to ${urlRuleInWords(rule)}`;
    case "each":
      return `a list of at most ${rule.max}, each (${ruleInWords(rule.of)})`;
    case "subset":
      return `a list, each at most once, out of (${listInWords(rule.values.map(scalarInWords))})`;
    default:
      return "nothing at all (the rule is of an unknown kind)";
  }
}

/** Hosts, schemes and whether private addresses count, in words that fit behind "to". */
export function urlRuleInWords(rule: UrlRule): string {
  const privates = rule.private ? "included" : "excluded";
  return `${listInWords(hostsInWords(rule))} by ${listInWords(rule.schemes)}, private addresses ${privates}`;
}

/** The hosts of a rule. */
export function hostsInWords({ hosts }: UrlRule): readonly string[] {
  return hosts.map((host) => (host === "*" ? "any host" : nameInWords(host)));
}

/** A name as it is where it is plain, else quoted. */
export function nameInWords(name: string): string {
  return /^[\w.*:@/[\]-]+$/.test(name) ? name : quote(name);
}

/** A time in ms since the epoch, in UTC. */
export function timeInWords(at: number): string {
  if (Number.isNaN(new Date(at).getTime())) return `${at} ms after 1970`;
  return new Date(at)
    .toISOString()
    .replace("T", " ")
    .replace(/(\.000)?Z$/, " UTC");
}

/** Texts joined by commas; `none` for an empty list. */
export function listInWords(texts: readonly string[], none = "none"): string {
  return texts.length === 0 ? none : texts.join(", ");
}

/** A path to be typed on a command line, quoted for a shell; `DIR` where it can't be shown whole and plainly. */
export function argumentInWords(path: string): string {
  if (path.length > 1000 || invisible.test(path)) return "DIR";
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

function scalarInWords(value: string | number | boolean | null): string {
  return typeof value === "string" ? quote(value) : String(value);
}

/** The first ten of many: what is only looked at, or paid for by the token. */
export function shortList(items: readonly string[]): string {
  const shown = listInWords(items.slice(0, 10));
  return items.length > 10 ? `${shown} and ${items.length - 10} more` : shown;
}

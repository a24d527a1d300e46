import type { Constraint, UrlRule } from "./grant.ts";

const maxShown = 80;

/** Controls, bidirectional marks, line separators and the like. */
const invisible = /[\p{C}\p{Zl}\p{Zp}]/u;

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
  const hosts = rule.hosts.map((host) => (host === "*" ? "any host" : nameInWords(host)));
  const privates = rule.private ? "included" : "excluded";
  return `${listInWords(hosts)} by ${listInWords(rule.schemes)}, private addresses ${privates}`;
}

/** A value that came, for a sentence: cut to 80 characters. */
export function valueInWords(value: unknown): string {
  if (typeof value === "string") return quote(value.length > maxShown ? `${value.slice(0, maxShown)}…` : value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return value === undefined ? "missing" : `a value of type ${typeof value}`;
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

/** As a JSON string with everything invisible escaped, so that no text forges another. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    new RegExp(invisible, "gu"),
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

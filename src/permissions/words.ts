import type { Constraint, UrlRule } from "./grant.ts";

const maxShown = 80;

/** A rule in words that fit behind "must be" and "is". */
export function ruleInWords(rule: Constraint): string {
  switch (rule.type) {
    case "any":
      return "anything";
    case "exact":
      return valueInWords(rule.value);
    case "one_of":
      return rule.values.length === 0 ? "nothing at all" : `one of ${listInWords(rule.values.map(valueInWords))}`;
    case "range":
      return `a number from ${rule.min} to ${rule.max}`;
    case "string":
      return `a text of at most ${rule.maxLength} characters`;
    case "path":
      return `a path under ${valueInWords(rule.under)}`;
    case "url":
      return `a URL to ${urlRuleInWords(rule)}`;
    case "each":
      return `a list of at most ${rule.max}, each ${ruleInWords(rule.of)}`;
    case "subset":
      return rule.values.length === 0
        ? "an empty list"
        : `a list, each once, out of ${listInWords(rule.values.map(valueInWords))}`;
    default:
      return "nothing at all (the rule is of an unknown kind)";
  }
}

/** Hosts, schemes and whether private addresses count, in words that fit behind "to". */
export function urlRuleInWords(rule: UrlRule): string {
  const hosts = rule.hosts.map((host) => (host === "*" ? "any host" : host)).join(", ");
  return `${hosts} by ${rule.schemes.join(", ")}, private addresses ${rule.private ? "included" : "excluded"}`;
}

/** A value for a sentence, cut to 80 characters; control characters are escaped, so that nothing can forge a line. */
export function valueInWords(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > maxShown ? `${value.slice(0, maxShown)}…` : value);
    case "number":
    case "boolean":
      return String(value);
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? `a list of ${value.length}` : "an object";
    case "undefined":
      return "missing";
    default:
      return `a ${typeof value}`;
  }
}

/** Texts joined by commas; `none` for an empty list. */
export function listInWords(texts: readonly string[], none = "none"): string {
  return texts.length === 0 ? none : texts.join(", ");
}

/** A path for a command line: quoted where a shell would not take it as it is. */
export function quoteForShell(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

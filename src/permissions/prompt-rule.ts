import { CapstanError } from "../core/error.ts";

/** Whether an entry of `Rights.prompts` allows a prompt: the entry is its name, or the beginning of it before a `*`. */
export function allowsPrompt(entry: string, name: string): boolean {
  return entry === name || (entry.endsWith("*") && name.startsWith(entry.slice(0, -1)));
}

/** Whether every prompt that the entry `child` allows is allowed by the entry `parent`. */
export function coversPrompt(parent: string, child: string): boolean {
  // The `*` of a child is no character of a name: `a**` allows less than `a*`.
  return parent === child || (parent.endsWith("*") && beginning(child).startsWith(beginning(parent)));
}

/** The entry that allows what both allow; null when that is nothing. */
export function meetPrompts(a: string, b: string): string | null {
  if (coversPrompt(a, b)) return b;
  return coversPrompt(b, a) ? a : null;
}

/** An entry as a person names it: a name, or `prefix*`. Throws `usage.bad_option`. */
export function parsePrompt(text: string): string {
  if (/^[^*]{0,127}\*?$/.test(text) && text !== "") return text;
  throw new CapstanError(
    "usage.bad_option",
    `${JSON.stringify(text.slice(0, 128))} names no prompts. Write a name, a beginning of names such as github__*, or * for all.`,
  );
}

const beginning = (entry: string): string => (entry.endsWith("*") ? entry.slice(0, -1) : entry);

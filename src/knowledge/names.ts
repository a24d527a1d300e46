import { CapstanError } from "../core/error.ts";

/** Characters of a name, an alias, a type or a relation. */
export const maxNameLength = 256;

const quotes = /[\u2018\u2019\u201b\u02bc]/g;
const doubleQuotes = /[\u201c\u201d\u201f]/g;
const dashes = /[\u2010-\u2015\u2212]/g;
const invisible = /\p{Cf}/gu;
const spaces = /\s+/g;

/**
 * The form under which a name is one entity: compatibility characters, case, spacing, typographic quotes and dashes, and invisible
 * characters make no difference. Accents and punctuation do, because "Gehör" is no "Gehor" and C++ is no C#: searching forgives them,
 * joining two entities for good must not.
 */
export function toNorm(name: string): string {
  return name
    .normalize("NFKC")
    .replaceAll(invisible, "")
    .replaceAll(quotes, "'")
    .replaceAll(doubleQuotes, '"')
    .replaceAll(dashes, "-")
    .toLowerCase()
    .replaceAll(spaces, " ")
    .trim();
}

/** A name as it is kept: one line, single spaces. Throws `knowledge.bad_fact` for what names nothing; `what` says whose name it is. */
export function toName(name: string, what: string): string {
  const line = name.replaceAll(spaces, " ").trim();
  if (toNorm(line) !== "" && line.length <= maxNameLength && !/\p{Cc}/u.test(line)) return line;
  throw new CapstanError(
    "knowledge.bad_fact",
    `The name of ${what} must be 1 to ${maxNameLength} visible characters on one line, got ${JSON.stringify(name.slice(0, 40))}.`,
  );
}

/** Relations and types are words of a program: `Works at`, `works-at` and `works_at` are one. Throws `knowledge.bad_fact`. */
export const toLabel = (label: string, what: string): string => toLabelNorm(toName(label, what));

/** The same without a check, for looking one up. */
export const toLabelNorm = (label: string): string => toNorm(label).replaceAll(/[\s_-]+/g, "_");

/** Words that say nothing about what is asked for. */
const stopWords = new Set(
  "a about an and are as at be been by can did do does for from had has have how i in into is it its know me my of on or our tell that the their them then there these they this to us was we were what when where which who whom whose why will with you your".split(
    " ",
  ),
);
const maxTerms = 16;
const maxTermLength = 64;

/** The words of a query that full-text search looks for: without stop words, unless there are no others, and each once. */
export function toTerms(query: string): readonly string[] {
  const words = [...new Set(toWords(query))].map((word) => word.slice(0, maxTermLength));
  const telling = words.filter((word) => !stopWords.has(word));
  return (telling.length === 0 ? words : telling).slice(0, maxTerms);
}

/** A word as an FTS5 string. Quoted, it is no syntax: `foo-bar` and `"C++"` are what they are, not operators or columns. */
export const toMatch = (word: string): string => `"${word.replaceAll('"', '""')}"`;

/** Longest runs that are tried as names, in words. */
const maxPhraseWords = 6;
const maxQueryWords = 24;

/** The runs of words in a query that may be names, longest first, with the part of the telling words that each covers. */
export function toPhrases(query: string): readonly { readonly norm: string; readonly share: number }[] {
  const words = toNorm(query)
    .split(" ")
    .map((word) => word.replace(/^[\p{P}\p{S}]+|[\p{P}\p{S}]+$/gu, ""))
    .filter((word) => word !== "")
    .slice(0, maxQueryWords);
  const telling = (run: readonly string[]): number => run.filter((word) => !stopWords.has(word)).length;
  const total = Math.max(1, telling(words));
  const phrases: { norm: string; share: number }[] = [];
  for (let length = Math.min(maxPhraseWords, words.length); length >= 1; length -= 1) {
    for (let from = 0; from + length <= words.length; from += 1) {
      const run = words.slice(from, from + length);
      const told = telling(run);
      if (told > 0) phrases.push({ norm: run.join(" "), share: told / total });
    }
  }
  return phrases;
}

/** What a query may mean as one name: all of it, and without the stop words around it. */
export function toNames(query: string): readonly string[] {
  const norm = toNorm(query);
  const words = norm.split(" ");
  const isTelling = (word: string): boolean => !stopWords.has(word);
  const inner = words.slice(Math.max(0, words.findIndex(isTelling)), words.findLastIndex(isTelling) + 1).join(" ");
  return inner === "" || inner === norm ? [norm] : [norm, inner];
}

/** The trigrams of a normal form, each once. */
export function toTrigrams(norm: string): ReadonlySet<string> {
  const characters = Array.from(norm);
  const trigrams = new Set<string>();
  for (let at = 0; at + 3 <= characters.length; at += 1) trigrams.add(characters.slice(at, at + 3).join(""));
  return trigrams;
}

function toWords(query: string): readonly string[] {
  return query.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
}

import type { DatabaseSync } from "node:sqlite";
import { openExact } from "./exact.ts";
import { openLikeness } from "./likeness.ts";
import { toTerms } from "./names.ts";
import type { View } from "./view.ts";
import { openWords } from "./words.ts";

/** An entity that matches a query itself, and by what. */
export interface Candidate {
  readonly entity: number;
  exact: number;
  name: number;
  /** The better of its summary and its best fact. */
  text: number;
  spelling: number;
  /** Of the surest fact that matched; 1 when the entity itself did. */
  confidence: number;
  readonly matched: Set<string>;
  /** Facts that matched, with their relevance. */
  readonly facts: Map<number, number>;
}

/** Finds every entity that matches: by exact name before anything else, by words, and by spelling. */
export function openCandidates(db: DatabaseSync) {
  const findExact = openExact(db);
  const findWords = openWords(db);
  const findAlike = openLikeness(db);

  return (query: string, view: View): { readonly candidates: readonly Candidate[]; readonly truncated: boolean } => {
    const found = new Map<number, Candidate>();
    const at = (entity: number, terms: readonly string[], confidence: number): Candidate => {
      const candidate = found.get(entity) ?? toCandidate(entity);
      found.set(entity, candidate);
      candidate.confidence = Math.max(candidate.confidence, confidence);
      for (const term of terms) candidate.matched.add(term);
      return candidate;
    };

    for (const { entity, phrase, share } of findExact(query)) {
      const candidate = at(entity, [phrase], 1);
      // A name that is half of the query is less than half of what was meant.
      candidate.exact = Math.max(candidate.exact, share ** 2);
    }
    const words = findWords(toTerms(query), view);
    for (const { row, relevance, terms } of words.names) at(row, terms, 1).name = relevance;
    for (const { row, relevance, terms } of words.summaries) at(row, terms, 1).text = relevance;
    for (const { row, relevance, terms, subject, object, confidence } of words.facts) {
      for (const entity of object === null || object === subject ? [subject] : [subject, object]) {
        const candidate = at(entity, terms, confidence);
        candidate.text = Math.max(candidate.text, relevance);
        candidate.facts.set(row, relevance);
      }
    }
    for (const { entity, name, likeness } of findAlike(query)) {
      const candidate = at(entity, likeness < 1 ? [`~${name}`] : [], 1);
      candidate.spelling = likeness;
    }
    return { candidates: [...found.values()], truncated: words.truncated };
  };
}

const toCandidate = (entity: number): Candidate => ({
  entity,
  exact: 0,
  name: 0,
  text: 0,
  spelling: 0,
  confidence: 0,
  matched: new Set(),
  facts: new Map(),
});

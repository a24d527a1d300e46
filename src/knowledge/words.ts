import type { DatabaseSync } from "node:sqlite";
import { integer, toQuery } from "../store/sql.ts";
import type { Query, Row } from "../store/sql.ts";
import { toMatch } from "./names.ts";
import type { View } from "./view.ts";
import { viewConditions, viewValues } from "./view.ts";

/** What the words of a query found in one kind of text: a row, its relevance (BM25, more is better) and the words that it has. */
export interface WordHit {
  readonly row: number;
  relevance: number;
  readonly terms: string[];
}

/** A fact that was found by its words. */
export interface FactHit extends WordHit {
  readonly subject: number;
  readonly object: number | null;
  readonly confidence: number;
}

export interface WordHits {
  /** By name and aliases. */
  readonly names: readonly WordHit[];
  /** By summary. */
  readonly summaries: readonly WordHit[];
  readonly facts: readonly FactHit[];
  readonly truncated: boolean;
}

/** A word that more rows have says little, and ranking them would cost more than it tells. */
const maxRows = 1_000;
/** Rows that are taken, unranked, when a query has only such words. */
const maxUnranked = 500;
/** BM25 gives a word that most rows have no weight, in a small graph any word; a row that has it is still better than one without. */
const leastRelevance = 3;

/**
 * Finds the words of a query in names, summaries and facts. Word by word, because BM25 is a sum over words: the parts add up to what
 * one query of all words gives, and tell which words matched, while common words can be left out before they cost anything.
 */
export function openWords(db: DatabaseSync) {
  const ranked = (sql: string): Query => toQuery(db, sql);
  const names = {
    prefix: "{name aliases} : ",
    count: ranked("select count(*) from (select 1 from entity_fts where entity_fts match ? limit ?)"),
    best: ranked("select rowid, -bm25(entity_fts, 8.0, 4.0, 0.0) from entity_fts where entity_fts match ?"),
    any: ranked("select rowid, 0 from entity_fts where entity_fts match ? limit ?"),
  };
  const summaries = {
    ...names,
    prefix: "{summary} : ",
    best: ranked("select rowid, -bm25(entity_fts, 0.0, 0.0, 1.0) from entity_fts where entity_fts match ?"),
  };
  const factColumns = "f.s, f.o, f.conf from fact_fts cross join fact f on f.id = fact_fts.rowid";
  const facts = (now: boolean) => ({
    prefix: "",
    count: ranked("select count(*) from (select 1 from fact_fts where fact_fts match ? limit ?)"),
    best: ranked(`select f.id, -bm25(fact_fts), ${factColumns} where fact_fts match ? and ${viewConditions(now)}`),
    any: ranked(`select f.id, 0, ${factColumns} where fact_fts match ? and ${viewConditions(now)} limit ?`),
  });
  const factsNow = facts(true);
  const factsThen = facts(false);

  return (terms: readonly string[], view: View): WordHits => {
    // A single word may be the beginning of one.
    const matches = terms.map((term) => ({ term, match: `${toMatch(term)}${terms.length === 1 ? " *" : ""}` }));
    const named = search(names, matches, [], toHit);
    const summed = search(summaries, matches, [], toHit);
    const stated = search(view.knownAt === null ? factsNow : factsThen, matches, viewValues(view), toFactHit);
    return {
      names: named.hits,
      summaries: summed.hits,
      facts: stated.hits,
      truncated: named.truncated || summed.truncated || stated.truncated,
    };
  };
}

function search<H extends WordHit>(
  table: { readonly prefix: string; readonly count: Query; readonly best: Query; readonly any: Query },
  matches: readonly { readonly term: string; readonly match: string }[],
  values: ReturnType<typeof viewValues>,
  read: (row: Row) => H,
): { readonly hits: readonly H[]; readonly truncated: boolean } {
  const counted = matches.map(({ term, match }) => {
    const text = `${table.prefix}${match}`;
    return { term, text, rows: integer(table.count.get(text, maxRows + 1)?.[0]) };
  });
  const telling = counted.filter(({ rows }) => rows > 0 && rows <= maxRows);
  const common = counted.filter(({ rows }) => rows > maxRows);
  const hits = new Map<number, H>();
  const add = (row: Row, terms: readonly string[]): void => {
    const hit = read(row);
    const known = hits.get(hit.row) ?? hit;
    if (known !== hit) known.relevance += hit.relevance;
    known.relevance += leastRelevance * terms.length;
    known.terms.push(...terms);
    hits.set(hit.row, known);
  };
  for (const { term, text } of telling) for (const row of table.best.iterate(text, ...values)) add(row, [term]);
  if (telling.length > 0 || common.length === 0) return { hits: [...hits.values()], truncated: false };
  const all = common.map(({ text }) => `(${text})`).join(" AND ");
  const terms = common.map(({ term }) => term);
  for (const row of table.any.iterate(all, ...values, maxUnranked)) add(row, terms);
  return { hits: [...hits.values()], truncated: hits.size >= maxUnranked };
}

function toHit([row, relevance]: Row): WordHit {
  return { row: integer(row), relevance: integer(relevance), terms: [] };
}

function toFactHit([row, relevance, subject, object, confidence]: Row): FactHit {
  return {
    ...toHit([row ?? null, relevance ?? null]),
    subject: integer(subject),
    object: object === null ? null : integer(object),
    confidence: integer(confidence),
  };
}

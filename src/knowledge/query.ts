import { z } from "zod";
import { When } from "./model.ts";

const Labels = z.array(z.string().min(1).max(256)).min(1).max(50);

/** What is searched for, and how. */
export const SearchQuery = z.strictObject({
  query: z.string().trim().min(1).max(500).describe("A name, words or a question."),
  types: Labels.optional().describe("Only entities of these types."),
  relations: Labels.optional().describe("Only facts of these relations, and entities that have some."),
  asOf: When.optional().describe("Facts that were true at this time. Without it: at knownAt, or now."),
  knownAt: When.optional().describe("Facts as they were believed at this time. Without it: now."),
  minConfidence: z.number().min(0).max(1).default(0),
  hops: z.int().min(0).max(2).default(1).describe("How far from what matches related entities are found too."),
  limit: z.int().min(1).max(50).default(10),
  maxTokens: z.int().min(100).max(20_000).default(4_000).describe("About how long the results may be together."),
  cursor: z.string().max(500).optional().describe("The nextCursor of the page before, with the same other arguments."),
});
export type SearchQuery = Readonly<z.infer<typeof SearchQuery>>;

const End = z.strictObject({ id: z.string(), name: z.string() });

const FoundSource = z.strictObject({
  kind: z.string(),
  uri: z.string().optional(),
  title: z.string().optional(),
  recordedAt: z.string(),
  taint: z.array(z.string()).optional().describe("Where it came from, when not from the user."),
});

const FoundFact = z.strictObject({
  id: z.int(),
  subject: End,
  relation: z.string(),
  object: End.optional(),
  value: z.string().optional(),
  text: z.string().optional(),
  validFrom: z.string().optional(),
  validTo: z.string().optional(),
  recordedAt: z.string(),
  retiredAt: z.string().optional().describe("When it was replaced by a better one."),
  confidence: z.number(),
  sources: z.array(FoundSource),
});
export type FoundFact = Readonly<z.infer<typeof FoundFact>>;

/** Each from 0 to 1. The score is their weighted mean. */
export const Components = z.strictObject({
  exact: z.number().describe("The part of the query that is this name or alias."),
  name: z.number().describe("Words of the name and the aliases."),
  text: z.number().describe("Words of the summary and of facts."),
  spelling: z.number().describe("How alike a name or an alias is spelled."),
  graph: z.number().describe("Nearness to what matches."),
  recency: z.number(),
  confidence: z.number().describe("Of the surest fact that led here; 1 for what was found by its own name or summary."),
});
export type Components = Readonly<z.infer<typeof Components>>;

const Found = z.strictObject({
  id: z.string(),
  name: z.string(),
  type: z.string(),
  aliases: z.array(z.string()),
  summary: z.string().optional(),
  score: z.number(),
  components: Components,
  matched: z
    .array(z.string())
    .describe("The words of the query that were found, and names that are spelled alike, after a ~."),
  hops: z.int().describe("0: matches itself; otherwise how many facts away from what does."),
  facts: z.array(FoundFact),
});
export type Found = Readonly<z.infer<typeof Found>>;

/** A page of what was found, best first. */
export const SearchPage = z.strictObject({
  results: z.array(Found),
  weights: Components.describe("What each component counts for in a score."),
  truncated: z.boolean().describe("Whether a limit of the search itself left something out: ask more narrowly."),
  nextCursor: z.string().optional(),
});
export type SearchPage = Readonly<z.infer<typeof SearchPage>>;

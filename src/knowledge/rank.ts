import type { Components } from "./query.ts";

/**
 * What each component counts for; docs/knowledge.md tells how these were found. An embedder would add a part for meaning; without one
 * there is none.
 */
export const weights: Components = {
  exact: 0.25,
  name: 0.15,
  text: 0.2,
  spelling: 0.2,
  graph: 0.15,
  recency: 0.025,
  confidence: 0.025,
};
const allWeights = Object.values(weights).reduce((sum, weight) => sum + weight, 0);

/** The raw amounts at which a component is a half. */
const halves = { graph: 0.1, ageMs: 30 * 24 * 60 * 60 * 1000 } as const;
/** BM25 grows with the logarithm of how many rows a word could have been in: so must what counts as half. */
const halfPerLogarithm = 6.7;

/** What stays the same over all pages of a search, so that scores do too. */
export interface Yardstick {
  /** Ms since the epoch: ages count to it. */
  readonly now: number;
  /** Entities in the graph. */
  readonly size: number;
}

/** What a search knows of an entity before it is ranked. */
export interface Evidence {
  readonly exact: number;
  readonly name: number;
  readonly text: number;
  readonly spelling: number;
  readonly activation: number;
  readonly confidence: number;
  readonly updatedAt: number;
}

/** Brings raw amounts to 0..1 by fixed transforms, so that a component means the same in every search. */
export function toComponents(evidence: Evidence, { now, size }: Yardstick): Components {
  const half = halfPerLogarithm * Math.log(size + 1);
  const age = Math.max(0, now - evidence.updatedAt);
  return {
    exact: rounded(evidence.exact),
    name: rounded(saturate(evidence.name, half)),
    text: rounded(saturate(evidence.text, half)),
    spelling: rounded(evidence.spelling),
    graph: rounded(saturate(evidence.activation, halves.graph)),
    recency: rounded(1 - saturate(age, halves.ageMs)),
    confidence: rounded(evidence.confidence),
  };
}

/** The weighted mean of the components. */
export function toScore(components: Components): number {
  const { exact, name, text, spelling, graph, recency, confidence } = weights;
  const sum =
    exact * components.exact +
    name * components.name +
    text * components.text +
    spelling * components.spelling +
    graph * components.graph +
    recency * components.recency +
    confidence * components.confidence;
  return Math.round((sum / allWeights) * 1e6) / 1e6;
}

const saturate = (amount: number, half: number): number => amount / (amount + half);

/** Four digits are more than a rank needs, and keep a page short. */
const rounded = (part: number): number => Math.round(part * 1e4) / 1e4;

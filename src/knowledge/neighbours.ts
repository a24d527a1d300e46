import type { Edges } from "./edges.ts";
import type { View } from "./view.ts";

/** An entity near what matches. */
export interface Near {
  /** How strongly what matches leads here: what came over each fact, summed up. */
  readonly activation: number;
  /** Facts on the shortest way. */
  readonly hops: number;
  /** Of the surest last fact on a way here. */
  readonly confidence: number;
}

/** Entities that one search may reach. */
const maxNodes = 2_000;
/** What is left of the strength after each fact. */
const decay = 0.5;

/**
 * Goes from what matches (`seeds`, with their strength) over facts to what is near, level by level. A seed keeps its own strength, so
 * that what it alone leads to stays behind it. A node with n neighbours passes on the square root of the n-th part to each: many weak
 * ways add up, and a hub leads nowhere in particular. With no hops nothing is near.
 */
export function findNear(
  edgesOf: (nodes: readonly number[], view: View, isLate: () => boolean) => Edges,
  seeds: ReadonlyMap<number, number>,
  hops: number,
  view: View,
  isLate: () => boolean,
): { readonly near: ReadonlyMap<number, Near>; readonly truncated: boolean } {
  const near = new Map<number, Near>();
  if (hops > 0) for (const [seed, strength] of seeds) near.set(seed, { activation: strength, hops: 0, confidence: 0 });
  const visited = new Set(seeds.keys());
  let truncated = false;
  let level = seeds;
  for (let hop = 1; hop <= hops && level.size > 0 && !isLate(); hop += 1) {
    const edges = edgesOf([...level.keys()], view, isLate);
    truncated ||= edges.truncated;
    const next = new Map<number, number>();
    for (const [node, strength] of level) {
      const around = surestOf(edges.byNode.get(node) ?? []);
      const part = (strength * decay) / Math.sqrt(around.size);
      for (const [other, confidence] of around) {
        const activation = part * confidence;
        const known = near.get(other);
        if (known === undefined && near.size >= maxNodes) {
          truncated = true;
          continue;
        }
        near.set(other, {
          activation: (known?.activation ?? 0) + activation,
          hops: known?.hops ?? hop,
          confidence: Math.max(known?.confidence ?? 0, confidence),
        });
        if (!visited.has(other)) next.set(other, (next.get(other) ?? 0) + activation);
      }
    }
    for (const node of next.keys()) visited.add(node);
    level = next;
  }
  return { near, truncated: truncated || isLate() };
}

/** The surest fact to each neighbour: two facts between the same two entities lead there once. */
function surestOf(
  edges: readonly { readonly other: number | null; readonly confidence: number }[],
): ReadonlyMap<number, number> {
  const surest = new Map<number, number>();
  for (const { other, confidence } of edges) {
    if (other !== null) surest.set(other, Math.max(surest.get(other) ?? 0, confidence));
  }
  return surest;
}

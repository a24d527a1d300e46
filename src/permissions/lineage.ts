import type { Grant } from "./grant.ts";

/** A grant and all above it, by their ids: what is made under it is kept with these. */
export const lineageOf = ({ id, ancestors }: Grant): string[] => [id, ...ancestors.map((ancestor) => ancestor.id)];

/**
 * Whether a grant sees what was made under a lineage, of its own principal. It sees what was made under itself and under grants that were
 * derived from it: a run reads what its nested calls made, and two tokens that were handed out beside each other see nothing of each
 * other, nor of what stands above them. A grant without ancestors is the operator's own, made anew with each process, so it sees
 * everything of its principal.
 */
export const maySee = ({ id, ancestors }: Grant, lineage: readonly string[]): boolean =>
  ancestors.length === 0 || lineage.includes(id);

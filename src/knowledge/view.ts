import type { SQLInputValue } from "node:sqlite";

/** Which facts a search sees. */
export interface View {
  /** True in the world at this time, in ms. */
  readonly asOf: number;
  /** Believed at this time, in ms; null for what is believed now. */
  readonly knownAt: number | null;
  readonly minConfidence: number;
  /** Keys of relations; null for all. */
  readonly relations: readonly number[] | null;
}

/** Conditions on `fact f`, whose values `viewValues` gives in the same order. `now`: the view is of what is believed now. */
export function viewConditions(now: boolean): string {
  const believed = now ? "f.tx_to is null" : "f.tx_from <= ? and (f.tx_to is null or f.tx_to > ?)";
  return `${believed} and (f.valid_from is null or f.valid_from <= ?) and (f.valid_to is null or f.valid_to > ?)
    and f.conf >= ? and (? is null or f.p in (select value from json_each(?)))`;
}

export function viewValues({ asOf, knownAt, minConfidence, relations }: View): readonly SQLInputValue[] {
  const list = relations === null ? null : JSON.stringify(relations);
  return [...(knownAt === null ? [] : [knownAt, knownAt]), asOf, asOf, minConfidence, list, list];
}

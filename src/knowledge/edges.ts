import type { DatabaseSync } from "node:sqlite";
import type { Query } from "../store/sql.ts";
import { integer, toQuery } from "../store/sql.ts";
import type { View } from "./view.ts";
import { viewConditions, viewValues } from "./view.ts";

/** A fact as seen from one of its ends. */
export interface Edge {
  readonly fact: number;
  /** The entity at the other end; null for a fact with a value. */
  readonly other: number | null;
  readonly confidence: number;
}

export interface Edges {
  readonly byNode: ReadonlyMap<number, readonly Edge[]>;
  /** Whether a guard left some out. */
  readonly truncated: boolean;
}

/** Facts that are kept per node and direction, the surest first. */
const maxEdges = 100;
/** Facts that are looked at per node and direction: what a hub has beyond them is not seen. */
const maxScanned = 2_000;
/** How many rows are read between two looks at the clock. */
const rowsPerLook = 256;

/** Which index gives the facts at one end of an entity, in a view of now or of then. */
const ways = {
  now: [
    { index: "fact_spo", end: "f.s", other: "f.o", only: "f.tx_to is null" },
    { index: "fact_ops", end: "f.o", other: "f.s", only: "f.tx_to is null and f.o is not null" },
  ],
  then: [
    { index: "fact_hist", end: "f.s", other: "f.o", only: "true" },
    { index: "fact_ops", end: "f.o", other: "f.s", only: "f.tx_to is null and f.o is not null" },
    { index: "fact_ops_hist", end: "f.o", other: "f.s", only: "f.tx_to is not null and f.o is not null" },
  ],
} as const;

/** Tells which of the entities have any fact in a view. */
export function openHaveFacts(db: DatabaseSync): (nodes: readonly number[], view: View) => ReadonlySet<number> {
  const prepare = (era: "now" | "then"): Query => {
    const exist = ways[era].map(
      ({ index, end, only }) =>
        `exists (select 1 from fact f indexed by ${index} where ${end} = j.value and ${only} and ${viewConditions(era === "now")})`,
    );
    return toQuery(db, `select j.value from json_each(?) j where ${exist.join(" or ")}`);
  };
  const statements = { now: prepare("now"), then: prepare("then") };
  return (nodes, view) => {
    const era = view.knownAt === null ? "now" : "then";
    const values = ways[era].flatMap(() => viewValues(view));
    return new Set(statements[era].all(JSON.stringify(nodes), ...values).map((row) => integer(row[0])));
  };
}

/**
 * Reads the facts around many entities, one statement per direction and level. `isLate` is asked now and then; once it says yes, what
 * was read so far is all. A node with more facts than are looked at ends its statement, and another one goes on behind it.
 */
export function openEdges(db: DatabaseSync) {
  const prepare = (era: "now" | "then"): readonly Query[] =>
    ways[era].map(({ index, end, other, only }) =>
      toQuery(
        db,
        `select j.value, f.id, ${other}, f.conf from json_each(?) j cross join fact f indexed by ${index}
         where ${end} = j.value and ${only} and ${viewConditions(era === "now")}`,
      ),
    );
  const statements = { now: prepare("now"), then: prepare("then") };

  return (nodes: readonly number[], view: View, isLate: () => boolean): Edges => {
    const values = viewValues(view);
    const found = new Map<number, Edge[]>(nodes.map((node) => [node, []]));
    let truncated = false;
    for (const statement of view.knownAt === null ? statements.now : statements.then) {
      let left = nodes;
      let late = false;
      while (left.length > 0 && !late) {
        const seen = new Map<number, Edge[]>();
        let rows = 0;
        let full: number | undefined;
        for (const [node, fact, other, confidence] of statement.iterate(JSON.stringify(left), ...values)) {
          rows += 1;
          late = rows % rowsPerLook === 0 && isLate();
          const from = integer(node);
          const edges = seen.get(from) ?? [];
          seen.set(from, edges);
          full = edges.length >= maxScanned ? from : undefined;
          if (late || full !== undefined) break;
          edges.push({
            fact: integer(fact),
            other: other === null ? null : integer(other),
            confidence: integer(confidence),
          });
        }
        for (const [node, edges] of seen) {
          truncated ||= edges.length > maxEdges;
          found.get(node)?.push(...edges.toSorted(bySurest).slice(0, maxEdges));
        }
        truncated ||= late || full !== undefined;
        left = full === undefined ? [] : left.slice(left.indexOf(full) + 1);
      }
    }
    return { byNode: found, truncated };
  };
}

const bySurest = (a: Edge, b: Edge): number => b.confidence - a.confidence || a.fact - b.fact;

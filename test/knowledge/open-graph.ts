import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { z } from "zod";
import type { Clock } from "../../src/core/clock.ts";
import type { Addition } from "../../src/knowledge/add-facts.ts";
import type { Knowledge } from "../../src/knowledge/knowledge.ts";
import { openKnowledge } from "../../src/knowledge/knowledge.ts";
import type { Source } from "../../src/knowledge/model.ts";
import { Additions } from "../../src/knowledge/model.ts";
import { SearchQuery } from "../../src/knowledge/query.ts";
import type { Searched } from "../../src/knowledge/search.ts";
import { handClock } from "../support/clock.ts";
import { tempFolder } from "../support/temp.ts";

export const note: Source = { kind: "note", actor: "operator", taint: [] };

/** A new graph in a file of its own, with a second connection that looks behind the port. */
export async function openGraph(clock: Clock & { advance(ms: number): void } = handClock()) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder());
  const path = join(folder.path, "graph.db");
  const knowledge = stack.use(await openKnowledge({ path, clock }));
  const db = stack.use(new DatabaseSync(path, { timeout: 5_000 }));
  const owned = stack.move();
  return { ...toGraph(knowledge), path, db, clock, knowledge, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** A graph's two calls, with defaults filled as a tool fills them. */
export function toGraph(knowledge: Knowledge) {
  return {
    add: (additions: z.input<typeof Additions>, source: Source = note): Promise<Addition> =>
      knowledge.addFacts(Additions.parse(additions), source),
    search: (query: string, options: Omit<z.input<typeof SearchQuery>, "query"> = {}): Promise<Searched> =>
      knowledge.search(SearchQuery.parse({ query, ...options })),
  };
}

/** The names that a search found, best first. */
export const namesOf = ({ page }: Searched): readonly string[] => page.results.map(({ name }) => name);

/** The facts of the first result as `subject relation object`. */
export const factsOf = ({ page }: Searched): readonly string[] =>
  (page.results[0]?.facts ?? []).map(
    ({ subject, relation, object, value }) => `${subject.name} ${relation} ${object?.name ?? value}`,
  );

/** How many rows a table has. */
export function rowsOf(
  db: DatabaseSync,
  table: "change" | "entity" | "fact" | "source" | "fact_source" | "alias",
): number {
  return Number(db.prepare(`select count(*) as n from ${table}`).get()?.["n"]);
}

import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import { toQuery } from "../store/sql.ts";
import { toStoreError } from "../store/sqlite-error.ts";
import { untilFree } from "../store/until-free.ts";
import type { Addition } from "./add-facts.ts";
import { openAddFacts } from "./add-facts.ts";
import type { Additions, Source } from "./model.ts";
import { openNamed } from "./named.ts";
import type { SearchQuery } from "./query.ts";
import { openGraphFile } from "./schema.ts";
import type { Searched } from "./search.ts";
import { openSearch } from "./search.ts";
import type { Shown } from "./show.ts";

/** One graph: entities, facts between them with their times and sources, and search over both. Disposing closes its file. */
export interface Knowledge extends AsyncDisposable {
  /**
   * Adds a batch in one transaction: all or nothing. Entities are found by their exact names before new ones are made; a fact that is
   * known is confirmed, and nothing is overwritten. Adding the same batch again changes nothing. Throws `knowledge.bad_fact`,
   * `knowledge.not_found` for an id, `store.*`.
   */
  addFacts(additions: Additions, source: Source): Promise<Addition>;
  /** Finds entities with their facts. Throws `knowledge.bad_query` for a cursor of another search, `store.*`. */
  search(query: SearchQuery): Promise<Searched>;
  /** The entities of a name, an alias or an id, at most 40: names need not be unique. Throws `store.*`. */
  named(name: string): Promise<readonly Shown[]>;
  /** At most `limit` names that begin so; case and spacing make no difference. Throws `store.*`. */
  names(start: string, limit: number): Promise<readonly string[]>;
}

/**
 * Opens the graph in one SQLite file, made with mode 0600 when it is missing; its folder must exist. Several processes may share it.
 * Throws `knowledge.unavailable` where SQLite has no full-text search, `store.*`.
 */
export async function openKnowledge({ path, clock }: { path: string; clock: Clock }): Promise<Knowledge> {
  const db = await openGraphFile(path);
  const add = openAddFacts(db, clock);
  const find = openSearch(db, clock);
  const called = openNamed(db, clock);
  const begin = toQuery(db, "begin");
  const end = toQuery(db, "commit");

  /** All statements of a search see the graph at one moment, whoever writes in between. */
  const atOneMoment = <T>(act: () => T): T => {
    begin.run();
    try {
      return act();
    } finally {
      end.run();
    }
  };

  /** Waits for other processes, and tells what SQLite throws as the store does. */
  const attempt = async <T>(act: () => T): Promise<T> => {
    try {
      if (!db.isOpen) throw new CapstanError("store.unavailable", "The graph was closed. Open it again.");
      return await untilFree(act);
    } catch (thrown) {
      throw toStoreError(thrown, path);
    }
  };

  return {
    addFacts: (additions, source) => attempt(() => add(additions, source)),
    search: (query) => attempt(() => atOneMoment(() => find(query))),
    named: (name) => attempt(() => atOneMoment(() => called.named(name))),
    names: (start, limit) => attempt(() => called.names(start, limit)),
    async [Symbol.asyncDispose]() {
      if (db.isOpen) db.close();
    },
  };
}

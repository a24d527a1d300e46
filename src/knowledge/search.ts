import type { DatabaseSync } from "node:sqlite";
import type { Clock } from "../core/clock.ts";
import type { Taint } from "../core/taint.ts";
import { mergeTaint, trusted } from "../core/taint.ts";
import { integer, text, toQuery } from "../store/sql.ts";
import type { Candidate } from "./candidates.ts";
import { openCandidates } from "./candidates.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import type { Edges } from "./edges.ts";
import { openEdges, openHaveFacts } from "./edges.ts";
import { toMs } from "./model.ts";
import { toLabelNorm } from "./names.ts";
import type { Near } from "./neighbours.ts";
import { findNear } from "./neighbours.ts";
import type { Components, Found, SearchPage, SearchQuery } from "./query.ts";
import type { Yardstick } from "./rank.ts";
import { toComponents, toScore, weights } from "./rank.ts";
import { openShow } from "./show.ts";
import type { View } from "./view.ts";

/** How long a search may follow facts. */
const walkMs = 50;
/** Entities that match and are ranked; the rest match worse. */
const maxCandidates = 1_000;
/** Matches from which related entities are looked for. */
const maxSeeds = 10;
/** Characters of JSON per token, about. */
const charactersPerToken = 4;

/** A page, and the labels of everything on it. */
export interface Searched {
  readonly page: SearchPage;
  readonly taint: Taint;
}

interface Ranked {
  readonly entity: number;
  readonly score: number;
  readonly components: Components;
  readonly hops: number;
  readonly candidate: Candidate | undefined;
}

/** Searches a graph. What it costs is bounded in rows, entities and time, whatever the graph holds; `truncated` tells. */
export function openSearch(db: DatabaseSync, clock: Clock): (query: SearchQuery) => Searched {
  const findCandidates = openCandidates(db);
  const edgesOf = openEdges(db);
  const haveFacts = openHaveFacts(db);
  const show = openShow(db);
  // Entities are never deleted, so the last row tells how many there are.
  const size = toQuery(db, "select coalesce(max(id), 0) from entity");
  const relationKeys = toQuery(db, "select r.id from json_each(?) j join rel r on r.name = j.value");
  const describe = toQuery(
    db,
    `select e.id, e.updated_at, e.created_at, t.name from json_each(?) j cross join entity e on e.id = j.value
     join entity_type t on t.id = e.type where e.merged_into is null`,
  );

  const toView = ({ asOf, knownAt, minConfidence, relations }: SearchQuery, now: number): View => {
    const known = knownAt === undefined ? null : toMs(knownAt);
    const names = JSON.stringify(relations?.map(toLabelNorm) ?? []);
    return {
      asOf: asOf === undefined ? (known ?? now) : toMs(asOf),
      knownAt: known,
      minConfidence,
      relations: relations === undefined ? null : relationKeys.all(names).map((row) => integer(row[0])),
    };
  };

  /** Everything that matches or is near what does, best first; ties by age of the entity. `rest`: worse matches that are left out. */
  const rank = (
    query: SearchQuery,
    view: View,
    yardstick: Yardstick,
  ): { readonly ranked: readonly Ranked[]; readonly truncated: boolean; readonly rest: boolean } => {
    const matching = findCandidates(query.query, view);
    const direct = matching.candidates
      .map((candidate) => ({ candidate, score: scoreOf(candidate, undefined, yardstick.now, yardstick).score }))
      .toSorted((a, b) => b.score - a.score || a.candidate.entity - b.candidate.entity)
      .slice(0, maxCandidates);
    const seeds = new Map(direct.slice(0, maxSeeds).map(({ candidate, score }) => [candidate.entity, score]));
    const deadline = clock() + walkMs;
    const walk = findNear(edgesOf, seeds, query.hops, view, () => clock() >= deadline);

    const candidates = new Map(direct.map(({ candidate }) => [candidate.entity, candidate]));
    const types = query.types === undefined ? undefined : new Set(query.types.map(toLabelNorm));
    const keys = [...new Set([...candidates.keys(), ...walk.near.keys()])];
    // A filter of relations is about facts: an entity without any has nothing to show.
    const shown = view.relations === null ? keys : [...haveFacts(keys, view)];
    const ranked = describe.all(JSON.stringify(shown)).flatMap(([key, updatedAt, createdAt, type]) => {
      const known = view.knownAt === null || integer(createdAt) <= view.knownAt;
      if (!known || (types !== undefined && !types.has(text(type)))) return [];
      const entity = integer(key);
      const candidate = candidates.get(entity);
      const near = walk.near.get(entity);
      const hops = candidate === undefined ? (near?.hops ?? 0) : 0;
      return [{ entity, candidate, hops, ...scoreOf(candidate, near, integer(updatedAt), yardstick) }];
    });
    return {
      ranked: ranked.toSorted((a, b) => b.score - a.score || a.entity - b.entity),
      truncated: matching.truncated || walk.truncated,
      rest: matching.candidates.length > maxCandidates,
    };
  };

  const toFound = ({ entity, candidate, ...ranked }: Ranked, edges: Edges): { found: Found; taint: Taint } => {
    const { shown, taint } = show(entity, edges.byNode.get(entity) ?? [], candidate?.facts ?? new Map());
    const { facts, ...rest } = shown;
    const { score, components, hops } = ranked;
    return { found: { ...rest, score, components, matched: [...(candidate?.matched ?? [])], hops, facts }, taint };
  };

  return (query) => {
    const after = query.cursor === undefined ? undefined : readCursor(query, query.cursor);
    const yardstick = after?.yardstick ?? { now: clock(), size: Math.max(1, integer(size.get()?.[0])) };
    const view = toView(query, yardstick.now);
    const { ranked, truncated, rest } = rank(query, view, yardstick);
    const items = after === undefined ? ranked : ranked.filter((item) => isBehind(item, after));
    let left = query.maxTokens * charactersPerToken;
    let taint = trusted;
    let cut = truncated;
    const results: Found[] = [];
    for (const [at, item] of items.entries()) {
      const edges = edgesOf([item.entity], view, () => false);
      const next = toFound(item, edges);
      const found = results.length === 0 ? shorten(next.found, left) : next.found;
      left -= JSON.stringify(found).length;
      if (results.length === query.limit || (left < 0 && results.length > 0)) {
        const last = items[at - 1] ?? item;
        const nextCursor = writeCursor(query, { yardstick, score: last.score, entity: last.entity });
        return { page: { results, weights, truncated: cut, nextCursor }, taint };
      }
      cut ||= found !== next.found;
      taint = mergeTaint(taint, next.taint);
      results.push(found);
    }
    return { page: { results, weights, truncated: cut || rest }, taint };
  };
}

function scoreOf(
  candidate: Candidate | undefined,
  near: Near | undefined,
  updatedAt: number,
  yardstick: Yardstick,
): { readonly score: number; readonly components: Components } {
  const components = toComponents(
    {
      exact: candidate?.exact ?? 0,
      name: candidate?.name ?? 0,
      text: candidate?.text ?? 0,
      spelling: candidate?.spelling ?? 0,
      activation: near?.activation ?? 0,
      confidence: Math.max(candidate?.confidence ?? 0, near?.confidence ?? 0),
      updatedAt,
    },
    yardstick,
  );
  return { score: toScore(components), components };
}

const isBehind = (item: Ranked, after: { readonly score: number; readonly entity: number }): boolean =>
  item.score < after.score || (item.score === after.score && item.entity > after.entity);

/** A single result that is too long for its page loses facts, never all of itself. */
function shorten(found: Found, characters: number): Found {
  let facts = found.facts;
  while (facts.length > 0 && JSON.stringify({ ...found, facts }).length > characters) facts = facts.slice(0, -1);
  return facts.length === found.facts.length ? found : { ...found, facts };
}

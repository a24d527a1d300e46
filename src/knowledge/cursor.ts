import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { canonicalJson, sha256 } from "../core/json.ts";
import type { SearchQuery } from "./query.ts";
import type { Yardstick } from "./rank.ts";

const Cursor = z.tuple([z.string(), z.int(), z.int().min(1), z.number(), z.int()]);

/**
 * Where a page ended: the last score and entity, and the yardstick of the first page, so that scores stay as they were. It holds for
 * one search only.
 */
export interface Place {
  readonly yardstick: Yardstick;
  readonly score: number;
  readonly entity: number;
}

export function writeCursor(query: SearchQuery, { yardstick, score, entity }: Place): string {
  return Buffer.from(JSON.stringify([nameOf(query), yardstick.now, yardstick.size, score, entity])).toString(
    "base64url",
  );
}

/** Throws `knowledge.bad_query` for a cursor that no page of this search gave. */
export function readCursor(query: SearchQuery, cursor: string): Place {
  const parsed = Cursor.safeParse(parseJson(Buffer.from(cursor, "base64url").toString()));
  if (parsed.success && parsed.data[0] === nameOf(query)) {
    const [, now, size, score, entity] = parsed.data;
    return { yardstick: { now, size }, score, entity };
  }
  throw new CapstanError(
    "knowledge.bad_query",
    "The cursor belongs to another search. Leave it out for the first page, and repeat the other arguments for the next ones.",
  );
}

/** The length of a page may change from one to the next; nothing else may. */
function nameOf({ cursor: _cursor, limit: _limit, maxTokens: _maxTokens, ...search }: SearchQuery): string {
  return sha256(canonicalJson(search)).slice(0, 16);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

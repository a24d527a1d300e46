import type { BigIntStats } from "node:fs";
import { CapstanError } from "../core/error.ts";
import type { Opened } from "../permissions/safe-path.ts";
import { openEntry } from "../permissions/safe-path.ts";
import { entriesOf, statEntry } from "../permissions/safe-path-read.ts";
import type { Position } from "./cursor.ts";

type Sort = "name" | "size" | "modified";
type Order = "asc" | "desc";

export interface ListRequest {
  /** How many levels below the folder; 1 is its own entries. */
  readonly depth: number;
  readonly limit: number;
  readonly sort: Sort;
  readonly order: Order;
  /** Go on behind this position; null begins. */
  readonly after: Position | null;
}

/** An entry that was found, the link itself where it is one. `parts` leads to it from the listed folder. */
export interface Found extends Position {
  readonly stat: BigIntStats;
  /** Why the entries of a folder within the depth are missing. */
  unlisted?: string;
}

/**
 * The first `limit` entries behind `after`, in the total order of the sort key and then of the path, by bytes and part by part. Memory
 * is bounded by the limit however large the folder is; for `name`, subfolders that can't hold a part of the answer are not opened.
 * `more`: entries follow. Throws `files.*` for the folder itself, and the reason of an aborted signal.
 */
export async function listFolder(
  folder: Opened,
  request: ListRequest,
  signal: AbortSignal,
): Promise<{ readonly found: readonly Found[]; readonly more: boolean }> {
  const { depth, limit, sort, order, after } = request;
  const sign = order === "asc" ? 1 : -1;
  const compare = (a: Position, b: Position): number => sign * comparePositions(a, b);
  // One more than asked for tells whether there are more.
  const best: Found[] = [];
  await visit(folder, []);
  return { found: best.slice(0, limit), more: best.length > limit };

  async function visit(from: Opened, above: readonly Buffer[]): Promise<void> {
    for await (const chunk of entriesOf(from, signal)) {
      for (const { name, isFolder } of chunk) {
        const parts = [...above, name];
        const found = offer(from, name, parts);
        if (!isFolder || parts.length >= depth || !mayHold(parts)) continue;
        try {
          using inner = openEntry(from, name);
          if (inner.kind === "folder") await visit(inner, parts);
        } catch (refusal) {
          if (!(refusal instanceof CapstanError)) throw refusal;
          if (found !== null) found.unlisted = refusal.code;
        }
      }
    }
  }

  /** Keeps the entry where it belongs to the answer as far as it is known; null where it does not, or is gone. */
  function offer(from: Opened, name: Buffer, parts: readonly Buffer[]): Found | null {
    if (sort === "name" && !isWithin({ key: 0n, parts })) return null;
    const stat = statEntry(from, name);
    if (stat === null) return null;
    const found: Found = { key: toKey(stat, sort), parts, stat };
    if (!isWithin(found)) return null;
    best.splice(rank(found), 0, found);
    if (best.length > limit + 1) best.pop();
    return found;
  }

  function isWithin(position: Position): boolean {
    if (after !== null && compare(position, after) <= 0) return false;
    const last = best.length > limit ? best.at(-1) : undefined;
    return last === undefined || compare(position, last) < 0;
  }

  /** Where the position goes among the best. */
  function rank(position: Position): number {
    let low = 0;
    let high = best.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = best[middle];
      if (other !== undefined && compare(other, position) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether anything below the folder at `parts` may be in the answer. Only names tell that beforehand. */
  function mayHold(parts: readonly Buffer[]): boolean {
    if (sort !== "name") return true;
    const last = best.length > limit ? best.at(-1)?.parts : undefined;
    const [low, high] = order === "asc" ? [after?.parts, last] : [last, after?.parts];
    // All below a folder come directly behind it: none are before `high` if it is not, and all are before `low` if it is,
    // unless `low` is itself below the folder.
    if (high !== undefined && comparePaths(parts, high) >= 0) return false;
    return low === undefined || comparePaths(parts, low) >= 0 || startsWith(low, parts);
  }
}

function toKey(stat: BigIntStats, sort: Sort): bigint {
  if (sort === "name") return 0n;
  return sort === "size" ? stat.size : stat.mtimeNs;
}

function comparePositions(a: Position, b: Position): number {
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  return comparePaths(a.parts, b.parts);
}

/** A folder comes before what is in it, and that before the folder's next sibling. */
function comparePaths(a: readonly Buffer[], b: readonly Buffer[]): number {
  for (const [index, part] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    const order = Buffer.compare(part, other);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function startsWith(path: readonly Buffer[], start: readonly Buffer[]): boolean {
  return start.length <= path.length && start.every((part, index) => path[index]?.equals(part) === true);
}

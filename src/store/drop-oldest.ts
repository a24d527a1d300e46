/** The file is remembered in so many parts of a kind; what is not remembered is read. */
const most = 4_096;

/** Drops what was remembered first, down to 4,096 parts. */
export function dropOldest(kept: Map<string, unknown>): void {
  for (const key of kept.keys()) {
    if (kept.size <= most) return;
    kept.delete(key);
  }
}

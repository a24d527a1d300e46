/** What the server says of itself, in both eras. */
export const instructions =
  "Every call is checked against a grant: tools/list shows what this one allows. A refusal names its code and what would allow it.";

export const capabilities = {
  tools: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  prompts: { listChanged: true },
  completions: {},
  logging: {},
};

interface CacheHint {
  readonly ttlMs: number;
  readonly cacheScope: "private";
}

/** What changes seldom, and is told of when it does; a stale list grants nothing. Nothing is ever shared between users. */
const kept: CacheHint = { ttlMs: 60_000, cacheScope: "private" };
/** What calls and runs leave stands among the resources at once, and what a resource holds may change at any time. */
const unkept: CacheHint = { ...kept, ttlMs: 0 };

/** For how long the answers to methods may be kept (2026-07-28, utilities/caching). */
export const cacheHints: ReadonlyMap<string, CacheHint> = new Map([
  ["server/discover", kept],
  ["tools/list", kept],
  ["resources/list", unkept],
  ["resources/templates/list", kept],
  ["resources/read", unkept],
  ["prompts/list", kept],
]);

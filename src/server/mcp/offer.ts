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

/** Lists change only when a grant is revoked or runs out, and a stale one grants nothing. They are never shared between users. */
export const cacheHint = { ttlMs: 60_000, cacheScope: "private" } as const;

/** Answers that say how long they may be kept (2026-07-28, utilities/caching). */
export const cachedMethods: ReadonlySet<string> = new Set([
  "server/discover",
  "tools/list",
  "resources/list",
  "resources/templates/list",
  "resources/read",
  "prompts/list",
]);

import { describe, expect, test } from "vitest";
import type { SearchPage } from "../../src/knowledge/query.ts";
import { openGraph } from "./open-graph.ts";

async function openCrowd(count: number) {
  const graph = await openGraph();
  for (let from = 0; from < count; from += 100) {
    const facts = Array.from({ length: Math.min(100, count - from) }, (_, n) => ({
      subject: `member ${from + n}`,
      relation: "says",
      value: `the quick brown fox jumps over the lazy dog, ${from + n}`,
      // Different scores, with ties.
      confidence: ((from + n) % 10) / 10,
    }));
    await graph.add({ facts });
  }
  return graph;
}

describe("pages of search()", () => {
  test("give every match once, in the order of one long page, though time goes by and others write", async () => {
    await using graph = await openCrowd(120);
    const options = { hops: 0, maxTokens: 20_000 } as const;
    const pages: SearchPage[] = [];
    let cursor: string | undefined;
    do {
      const searched = await graph.search("member fox", {
        ...options,
        limit: 7,
        ...(cursor === undefined ? {} : { cursor }),
      });
      pages.push(searched.page);
      cursor = searched.page.nextCursor;
      graph.clock.advance(3_600_000);
    } while (cursor !== undefined);
    const found = pages.flatMap(({ results }) => results);
    expect(new Set(found.map(({ id }) => id)).size).toBe(120);
    expect(found).toHaveLength(120);
    const scores = found.map(({ score }) => score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(pages.slice(0, -1).every(({ results }) => results.length === 7)).toBe(true);
  });

  test("go on behind a place whose entity has changed its rank", async () => {
    await using graph = await openCrowd(20);
    const first = await graph.search("fox", { hops: 0, limit: 5 });
    graph.clock.advance(1);
    await graph.add({ facts: [{ subject: "member 0", relation: "says", value: "fox fox fox" }] });
    const { page } = await graph.search("fox", { hops: 0, limit: 50, ...cursorOf(first.page) });
    const seen = new Set(first.page.results.map(({ id }) => id));
    expect(page.results.some(({ id }) => seen.has(id))).toBe(false);
  });

  test.each([
    ["of another query", { query: "dog" }],
    ["of other filters", { types: ["person"] }],
    ["that is garbage", { cursor: "not a cursor" }],
    ["that is other JSON", { cursor: Buffer.from("[1]").toString("base64url") }],
  ])("refuse a cursor %s", async (_what, change) => {
    await using graph = await openCrowd(20);
    const first = await graph.search("fox", { hops: 0, limit: 5 });
    const { query, ...options } = { query: "fox", hops: 0, ...cursorOf(first.page), ...change };
    await expect(graph.search(query, options)).rejects.toMatchObject({ code: "knowledge.bad_query" });
  });

  test("are no longer than asked for, and one result is always whole but for its facts", async () => {
    await using graph = await openCrowd(60);
    const long = await graph.search("fox", { hops: 0, limit: 50, maxTokens: 2_000 });
    expect(JSON.stringify(long.page.results).length).toBeLessThan(2_000 * 4.1);
    expect(long.page.results.length).toBeGreaterThan(3);
    expect(long.page.nextCursor).toBeDefined();
    const short = await graph.search("fox", { hops: 0, maxTokens: 100 });
    expect(short.page).toMatchObject({ results: [{ facts: [] }], truncated: true });
  });
});

const cursorOf = ({ nextCursor }: SearchPage): { cursor: string } => {
  if (nextCursor === undefined) throw new Error("There is no next page.");
  return { cursor: nextCursor };
};

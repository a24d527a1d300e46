import type { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Interval } from "../../src/knowledge/interval.ts";
import { contains, overlap, without } from "../../src/knowledge/interval.ts";
import { plainCases, slowCases } from "../support/cases.ts";
import { factsOf, openGraph, rowsOf } from "./open-graph.ts";

const day = 86_400_000;
const single = [{ name: "lives_in", functional: true }];
const lives = (value: string, times: object = {}) => ({
  facts: [{ subject: "Ada", relation: "lives_in", value, ...times }],
});

describe("a new value of a functional relation", () => {
  test("ends the old one now, and both stay searchable for their times", async () => {
    await using graph = await openGraph();
    await graph.add({ relations: single, ...lives("London") });
    graph.clock.advance(10 * day);
    expect((await graph.add(lives("Paris"))).added).toMatchObject({ added: 1, ended: 1 });
    expect(factsOf(await graph.search("Ada"))).toEqual(["Ada lives_in Paris"]);
    expect(factsOf(await graph.search("Ada", { asOf: "2026-01-05" }))).toEqual(["Ada lives_in London"]);
    expect(factsOf(await graph.search("Ada", { asOf: "2026-01-11" }))).toEqual(["Ada lives_in Paris"]);
  });

  test("leaves what was believed before as it was believed", async () => {
    await using graph = await openGraph();
    await graph.add({ relations: single, ...lives("London") });
    graph.clock.advance(10 * day);
    // Told late: it was Paris since the second of January.
    await graph.add(lives("Paris", { validFrom: "2026-01-02" }));
    const asOf = "2026-01-05";
    expect(factsOf(await graph.search("Ada", { asOf }))).toEqual(["Ada lives_in Paris"]);
    expect(factsOf(await graph.search("Ada", { asOf, knownAt: "2026-01-05" }))).toEqual(["Ada lives_in London"]);
    expect(factsOf(await graph.search("Ada", { asOf: "2026-01-01" }))).toEqual(["Ada lives_in London"]);
  });

  test("for a time within the old one's leaves it before and after", async () => {
    await using graph = await openGraph();
    await graph.add({ relations: single, ...lives("London", { validFrom: "2020" }) });
    await graph.add(lives("Rome", { validFrom: "2022", validTo: "2023" }));
    const at = async (asOf: string) => factsOf(await graph.search("Ada", { asOf }));
    expect(await at("2019")).toEqual([]);
    expect(await at("2021")).toEqual(["Ada lives_in London"]);
    expect(await at("2022-06")).toEqual(["Ada lives_in Rome"]);
    expect(await at("2025")).toEqual(["Ada lives_in London"]);
  });

  test("that was there before begins anew and keeps its first time", async () => {
    await using graph = await openGraph();
    await graph.add({ relations: single, ...lives("London") });
    for (const place of ["Paris", "London"]) {
      graph.clock.advance(10 * day);
      expect((await graph.add(lives(place))).added).toMatchObject({ added: 1, ended: 1 });
    }
    const at = async (asOf: string) => factsOf(await graph.search("Ada", { asOf }));
    expect(await at("2026-01-05")).toEqual(["Ada lives_in London"]);
    expect(await at("2026-01-15")).toEqual(["Ada lives_in Paris"]);
    expect(await at("2026-01-25")).toEqual(["Ada lives_in London"]);
  });

  test("keeps the sources of what is left of the old one", async () => {
    await using graph = await openGraph();
    const page = { kind: "page", uri: "https://example.org/ada", taint: ["web"] };
    await graph.add({ relations: single, ...lives("London") }, page);
    graph.clock.advance(10 * day);
    await graph.add(lives("Paris"));
    const old = (await graph.search("Ada", { asOf: "2026-01-05" })).page.results[0]?.facts[0];
    expect(old).toMatchObject({ value: "London", sources: [{ uri: "https://example.org/ada", taint: ["web"] }] });
    expect(old?.sources).toHaveLength(1);
  });

  test("does not touch other entities or relations that may have many values", async () => {
    await using graph = await openGraph();
    await graph.add({ relations: single, ...lives("London") });
    await graph.add({ facts: [{ subject: "Bob", relation: "lives_in", value: "Oslo" }] });
    for (const value of ["tea", "coffee"]) await graph.add({ facts: [{ subject: "Ada", relation: "likes", value }] });
    expect(factsOf(await graph.search("Bob"))).toEqual(["Bob lives_in Oslo"]);
    expect(factsOf(await graph.search("Ada"))).toHaveLength(3);
  });
});

describe("a fact told with other times", () => {
  const chairs = (times: object) => ({ facts: [{ subject: "Ada", relation: "chairs", object: "Board", ...times }] });

  test("learns its end, and the former belief stays known", async () => {
    await using graph = await openGraph();
    await graph.add(chairs({ validFrom: "2020" }));
    graph.clock.advance(day);
    expect((await graph.add(chairs({ validTo: "2024" }))).added).toMatchObject({ added: 0, refined: 1 });
    const { page } = await graph.search("Ada", { asOf: "2022" });
    expect(page.results[0]?.facts).toMatchObject([
      { validFrom: "2020-01-01T00:00:00.000Z", validTo: "2024-01-01T00:00:00.000Z" },
    ]);
    expect(factsOf(await graph.search("Ada", { asOf: "2025" }))).toEqual([]);
    expect(factsOf(await graph.search("Ada", { asOf: "2025", knownAt: "2026-01-01T12:00:00Z" }))).toEqual([
      "Ada chairs Board",
    ]);
  });

  test("is another fact when the times do not touch", async () => {
    await using graph = await openGraph();
    await graph.add(chairs({ validFrom: "2010", validTo: "2012" }));
    expect((await graph.add(chairs({ validFrom: "2020", validTo: "2022" }))).added).toMatchObject({ added: 1 });
    expect((await graph.add(chairs({ validFrom: "2010", validTo: "2012" }))).added).toMatchObject({ confirmed: 1 });
    expect(factsOf(await graph.search("Ada", { asOf: "2011" }))).toHaveLength(1);
    expect(factsOf(await graph.search("Ada", { asOf: "2015" }))).toHaveLength(0);
    expect(factsOf(await graph.search("Ada", { asOf: "2021" }))).toHaveLength(1);
  });

  test("without times means now: it begins anew when it had ended, and is confirmed when it holds", async () => {
    await using graph = await openGraph();
    await graph.add(chairs({ validFrom: "2010", validTo: "2012" }));
    expect((await graph.add(chairs({}))).added).toMatchObject({ added: 1 });
    expect((await graph.add(chairs({}))).added).toMatchObject({ confirmed: 1 });
    expect(factsOf(await graph.search("Ada", { asOf: "2015" }))).toHaveLength(0);
    expect(factsOf(await graph.search("Ada"))).toHaveLength(1);
  });
});

/** What the graph says that Ada's value was at `asOf`, as believed at `knownAt`. */
function valuesAt(db: DatabaseSync, asOf: number, knownAt: number): readonly unknown[] {
  const rows = db
    .prepare(
      `select value from fact where (valid_from is null or valid_from <= :asOf) and (valid_to is null or valid_to > :asOf)
       and tx_from <= :knownAt and (tx_to is null or tx_to > :knownAt)`,
    )
    .all({ asOf, knownAt });
  return rows.map((row) => row["value"]);
}

describe("whatever is told of a functional relation", () => {
  const start = Date.UTC(2026, 0, 1);
  const points = Array.from({ length: 12 }, (_, n) => start + (n - 4) * day);
  const edge = fc.option(fc.integer({ min: -4, max: 7 }), { nil: undefined });
  const statement = fc
    .record({ value: fc.constantFrom("a", "b", "c"), from: edge, to: edge })
    .filter(({ from, to }) => from === undefined || to === undefined || from < to);
  const toDate = (n: number | undefined, name: string): object =>
    n === undefined ? {} : { [name]: new Date(start + n * day).toISOString().slice(0, 10) };

  /** When the value must hold: where a side is left open, it may be known to end before. */
  const momentsOf = (from: number | undefined, to: number | undefined, now: number): readonly number[] => {
    if (from === undefined && to === undefined) return [now];
    if (from === undefined) return [start + (to ?? 0) * day - 1];
    return to === undefined
      ? [start + from * day]
      : Array.from({ length: to - from }, (_, n) => start + (from + n) * day);
  };

  test("there is one value at a time, the last one told holds, telling it again changes nothing, and past beliefs stay", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(statement, { minLength: 1, maxLength: 8 }), async (statements) => {
        await using graph = await openGraph();
        await graph.add({ relations: single });
        const beliefs: { readonly knownAt: number; readonly values: unknown }[] = [];
        for (const { value, from, to } of statements) {
          graph.clock.advance(1);
          const knownAt = graph.clock();
          const told = lives(value, { ...toDate(from, "validFrom"), ...toDate(to, "validTo") });
          await graph.add(told);
          const values = points.map((point) => valuesAt(graph.db, point, knownAt));
          expect(Math.max(...values.map(({ length }) => length))).toBeLessThanOrEqual(1);
          for (const moment of momentsOf(from, to, knownAt))
            expect(valuesAt(graph.db, moment, knownAt)).toEqual([value]);
          const changes = rowsOf(graph.db, "change");
          await graph.add(told);
          expect(rowsOf(graph.db, "change")).toBe(changes);
          beliefs.push({ knownAt, values });
        }
        for (const { knownAt, values } of beliefs) {
          expect(points.map((point) => valuesAt(graph.db, point, knownAt))).toEqual(values);
        }
      }),
      { numRuns: slowCases },
    );
  });
});

describe("without()", () => {
  const bound = fc.option(fc.integer({ min: 0, max: 20 }), { nil: null });
  const interval: fc.Arbitrary<Interval> = fc
    .record({ from: bound, to: bound })
    .filter(({ from, to }) => from === null || to === null || from < to);

  test("leaves every moment of the first that is not in the second, and no other", () => {
    fc.assert(
      fc.property(interval, interval, (a, b) => {
        const rest = without(a, b);
        for (let at = -1; at <= 21; at += 1) {
          expect(rest.filter((part) => contains(part, at))).toHaveLength(contains(a, at) && !contains(b, at) ? 1 : 0);
        }
        expect(rest.some((part) => overlap(part, b))).toBe(false);
      }),
      { numRuns: plainCases },
    );
  });
});

import { describe, expect, test } from "vitest";
import { factsOf, namesOf, openGraph } from "./open-graph.ts";

async function openTown() {
  const graph = await openGraph();
  await graph.add({
    entities: [
      {
        name: "Ada Lovelace",
        type: "person",
        aliases: ["Countess of Lovelace"],
        summary: "a mathematician and writer",
      },
      { name: "Charles Babbage", type: "person", summary: "an engineer who designed calculating machines" },
      { name: "Analytical Engine", type: "machine" },
      { name: "London", type: "place" },
      { name: "Lovelace Street", type: "place" },
    ],
    facts: [
      { subject: "Ada Lovelace", relation: "worked_with", object: "Charles Babbage" },
      { subject: "Charles Babbage", relation: "designed", object: "Analytical Engine" },
      { subject: "Charles Babbage", relation: "born_in", object: "London", confidence: 0.4 },
      { subject: "Ada Lovelace", relation: "wrote", value: "the first published program, for Bernoulli numbers" },
      { subject: "Lovelace Street", relation: "in", object: "London" },
    ],
  });
  return graph;
}

describe("search()", () => {
  test.each([
    ["the exact name", "Ada Lovelace"],
    ["the name in another case", "ada LOVELACE"],
    ["an alias", "countess of lovelace"],
    ["a name with a slip", "Ada Lovelase"],
    ["a name with two letters swapped", "dAa Lovelace"],
    ["a name in a question", "What is known about Ada Lovelace?"],
    ["words of a fact", "who published programs"],
    ["a word of the summary, in another form", "mathematicians"],
    ["the beginning of a word", "mathem"],
  ])("finds an entity first by %s", async (_what, query) => {
    await using graph = await openTown();
    expect(namesOf(await graph.search(query))[0]).toBe("Ada Lovelace");
  });

  test("tells why: components whose weighted sum is the score, matched words, facts and sources", async () => {
    await using graph = await openTown();
    const { page } = await graph.search("Lovelace program");
    for (const { score, components } of page.results) {
      const sum = Object.entries(page.weights).reduce(
        (total, [name, weight]) =>
          total + weight * (Object.entries(components).find(([key]) => key === name)?.[1] ?? 0),
        0,
      );
      expect(score).toBeCloseTo(sum, 5);
      for (const part of Object.values(components)) expect(part >= 0 && part <= 1).toBe(true);
    }
    const [ada] = page.results;
    expect(ada?.matched).toEqual(expect.arrayContaining(["lovelace", "program"]));
    expect(ada?.facts[0]).toMatchObject({ relation: "wrote", confidence: 1, sources: [{ kind: "note" }] });
    expect(Object.values(page.weights).reduce((total, weight) => total + weight, 0)).toBeCloseTo(1);
  });

  test("puts equal matches in the order in which they came, every time", async () => {
    await using graph = await openGraph();
    const names = ["gate d", "gate a", "gate c", "gate b"];
    await graph.add({ entities: names.map((name) => ({ name })) });
    const { page } = await graph.search("gate", { hops: 0 });
    expect(new Set(page.results.map(({ score }) => score)).size).toBe(1);
    expect(page.results.map(({ name }) => name)).toEqual(names);
    expect((await graph.search("gate", { hops: 0 })).page).toEqual(page);
  });

  test("finds nothing where nothing matches, and says so without an error", async () => {
    await using graph = await openTown();
    expect((await graph.search("zzzzzz")).page).toMatchObject({ results: [], truncated: false });
  });

  test("in an empty graph finds nothing", async () => {
    await using graph = await openGraph();
    expect((await graph.search("anything")).page.results).toEqual([]);
  });
});

describe("search() with hops", () => {
  test("finds what is near what matches, and tells how far", async () => {
    await using graph = await openTown();
    const hops = async (count: number) =>
      (await graph.search("countess", { hops: count })).page.results.map((found) => [found.name, found.hops]);
    expect(await hops(0)).toEqual([["Ada Lovelace", 0]]);
    expect(await hops(1)).toEqual([
      ["Ada Lovelace", 0],
      ["Charles Babbage", 1],
    ]);
    expect(await hops(2)).toEqual([
      ["Ada Lovelace", 0],
      ["Charles Babbage", 1],
      ["Analytical Engine", 2],
      ["London", 2],
    ]);
  });

  test("puts what two matches lead to before what one leads to", async () => {
    await using graph = await openGraph();
    await graph.add({
      facts: [
        { subject: "red lamp", relation: "in", object: "hall" },
        { subject: "red chair", relation: "in", object: "hall" },
        { subject: "red chair", relation: "near", object: "wall" },
      ],
    });
    const names = namesOf(await graph.search("red lamp chair"));
    expect(names.indexOf("hall")).toBeLessThan(names.indexOf("wall"));
  });

  test("looks at a hundred facts of a hub, the surest ones, and says that there are more", async () => {
    await using graph = await openGraph();
    for (let from = 0; from < 300; from += 100) {
      const facts = Array.from({ length: 100 }, (_, n) => ({
        subject: "hub",
        relation: "has",
        object: `spoke ${from + n}`,
        confidence: (from + n) / 300,
      }));
      await graph.add({ facts });
    }
    const { page } = await graph.search("hub", { hops: 1, limit: 50, maxTokens: 20_000 });
    const spokes = page.results.filter(({ hops }) => hops === 1).map(({ name }) => Number(name.slice(6)));
    expect(page.truncated).toBe(true);
    expect(spokes.length).toBeGreaterThan(0);
    expect(Math.min(...spokes)).toBeGreaterThanOrEqual(200);
    expect((await graph.search("spoke 7", { hops: 2 })).page.truncated).toBe(true);
    expect((await graph.search("spoke 7", { hops: 1 })).page.truncated).toBe(false);
  });

  test("stops following facts when its time is over, and says so", async () => {
    let now = Date.UTC(2026, 0, 1);
    let step = 0;
    const clock = Object.assign(() => (now += step), { advance: () => {} });
    await using graph = await openGraph(clock);
    const facts = Array.from({ length: 400 }, (_, n) => ({ subject: "hub", relation: "has", object: `spoke ${n}` }));
    await graph.add({ facts });
    const inTime = await graph.search("hub", { hops: 2 });
    step = 60;
    const late = await graph.search("hub", { hops: 2 });
    expect(inTime.page.results.length).toBeGreaterThan(1);
    expect(late.page).toMatchObject({ truncated: true, results: [{ name: "hub" }] });
  });
});

describe("search() with filters", () => {
  test("keeps to types, but finds them through others", async () => {
    await using graph = await openTown();
    expect(namesOf(await graph.search("Ada Lovelace", { types: ["machine"], hops: 2 }))).toEqual(["Analytical Engine"]);
    expect(namesOf(await graph.search("Lovelace", { types: ["place"], hops: 0 }))).toEqual(["Lovelace Street"]);
    expect(namesOf(await graph.search("Lovelace", { types: ["unicorn"] }))).toEqual([]);
  });

  test("keeps to relations, in what it follows and in what it shows", async () => {
    await using graph = await openTown();
    const found = await graph.search("Babbage", { relations: ["Designed"], hops: 2 });
    expect(namesOf(found)).toEqual(["Charles Babbage", "Analytical Engine"]);
    expect(factsOf(found)).toEqual(["Charles Babbage designed Analytical Engine"]);
    expect(namesOf(await graph.search("Babbage", { relations: ["nothing_of_this"] }))).toEqual([]);
  });

  test("leaves out facts that are not sure enough", async () => {
    await using graph = await openTown();
    expect(factsOf(await graph.search("Charles Babbage", { minConfidence: 0.5 }))).not.toContain(
      "Charles Babbage born_in London",
    );
    expect(factsOf(await graph.search("Charles Babbage", { minConfidence: 0.4 }))).toContain(
      "Charles Babbage born_in London",
    );
  });

  test("shows no entity that was not known then", async () => {
    await using graph = await openTown();
    graph.clock.advance(86_400_000);
    await graph.add({ entities: [{ name: "Ada Byron", type: "person" }] });
    expect(namesOf(await graph.search("Ada", { hops: 0 }))).toHaveLength(2);
    expect(namesOf(await graph.search("Ada", { hops: 0, knownAt: "2026-01-01T12:00:00Z" }))).toEqual(["Ada Lovelace"]);
  });
});

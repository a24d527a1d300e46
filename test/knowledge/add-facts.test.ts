import { describe, expect, test } from "vitest";
import { Additions } from "../../src/knowledge/model.ts";
import { factsOf, namesOf, note, openGraph, rowsOf } from "./open-graph.ts";

describe("addFacts()", () => {
  test("makes the entities that facts name, and finds them again", async () => {
    await using graph = await openGraph();
    const { added } = await graph.add({
      facts: [
        { subject: "Ada Lovelace", relation: "worked with", object: "Charles Babbage" },
        { subject: "ada  LOVELACE", relation: "wrote", value: "notes on the Analytical Engine" },
      ],
    });
    expect(added).toMatchObject({ added: 2, confirmed: 0, refined: 0, ended: 0, entitiesCreated: 2 });
    expect(added.entities.map(({ name, created }) => [name, created])).toEqual([
      ["Ada Lovelace", true],
      ["Charles Babbage", true],
    ]);
    expect(factsOf(await graph.search("Ada Lovelace")).toSorted()).toEqual([
      "Ada Lovelace worked_with Charles Babbage",
      "Ada Lovelace wrote notes on the Analytical Engine",
    ]);
  });

  test.each([
    ["its name in another case", "GEHÖR"],
    ["its name with other spaces", "  Gehör "],
    ["its name in decomposed characters", "Geho\u0308r"],
    ["its name with an invisible character", "Ge\u200bhör"],
    ["an alias", "Audition"],
    ["an alias with a typographic quote", "L’ouïe"],
  ])("finds an entity by %s", async (_what, name) => {
    await using graph = await openGraph();
    await graph.add({ entities: [{ name: "Gehör", aliases: ["audition", "l'ouïe"] }] });
    const { added } = await graph.add({ facts: [{ subject: name, relation: "is", value: "a sense" }] });
    expect(added.entities).toMatchObject([{ name: "Gehör", created: false }]);
    expect(rowsOf(graph.db, "entity")).toBe(1);
  });

  test.each([
    ["an accent", "Gehor", "Gehör"],
    ["punctuation", "C++", "C#"],
    ["a vowel sign", "की", "का"],
  ])("keeps names apart that differ in %s", async (_what, one, other) => {
    await using graph = await openGraph();
    await graph.add({ entities: [{ name: one }, { name: other }] });
    expect(rowsOf(graph.db, "entity")).toBe(2);
  });

  test("takes a name before an alias of another entity", async () => {
    await using graph = await openGraph();
    await graph.add({ entities: [{ name: "Mallory", aliases: ["Alice"] }, { name: "Bob" }] });
    // An alias decides only where nobody has the name.
    const before = await graph.add({ facts: [{ subject: "Alice", relation: "is", value: "an alias" }] });
    await graph.add({ entities: [{ name: "Alice", type: "person" }] });
    expect(before.added.entities.map(({ name }) => name)).toEqual(["Mallory"]);
    expect(namesOf(await graph.search("Alice"))[0]).toBe("Mallory");
  });

  test("tells entities of one name apart by type, and asks for an id when the type is missing", async () => {
    await using graph = await openGraph();
    const { added } = await graph.add({
      entities: [
        { name: "Paris", type: "city" },
        { name: "Paris", type: "Person" },
        { name: "paris", type: "CITY", aliases: ["Lutetia"] },
      ],
    });
    expect(added.entities.map(({ type }) => type)).toEqual(["city", "person"]);
    const [city, person] = added.entities.map(({ id }) => id);
    const fact = { relation: "is", value: "far" };
    await expect(graph.add({ facts: [{ subject: "Paris", ...fact }] })).rejects.toThrow(`${person} (Paris, person)`);
    const byId = await graph.add({ facts: [{ subject: `${city}`, ...fact }] });
    const byAlias = await graph.add({ facts: [{ subject: "lutetia", ...fact }] });
    expect([byId, byAlias].map((one) => one.added.entities[0]?.id)).toEqual([city, city]);
  });

  test("gives an entity of no type the first type that is told", async () => {
    await using graph = await openGraph();
    await graph.add({ facts: [{ subject: "Oslo", relation: "in", object: "Norway" }] });
    const { added } = await graph.add({ entities: [{ name: "Oslo", type: "city" }] });
    expect(added.entities).toMatchObject([{ type: "city", created: false }]);
    expect(rowsOf(graph.db, "entity")).toBe(2);
  });

  test("takes Works at, works-at and works_at for one relation", async () => {
    await using graph = await openGraph();
    const facts = ["Works at", "works-at", "works_at"].map((relation) => ({ subject: "Ada", relation, object: "Lab" }));
    expect((await graph.add({ facts })).added).toMatchObject({ added: 1, confirmed: 2 });
  });

  test("writes a change row for each row that it touches, in the same transaction", async () => {
    await using graph = await openGraph();
    await graph.add({
      entities: [{ name: "Ada", aliases: ["Countess"] }],
      relations: [{ name: "lives_in", functional: true }],
      facts: [{ subject: "Ada", relation: "lives_in", value: "London" }],
    });
    graph.clock.advance(1);
    await graph.add({ facts: [{ subject: "Ada", relation: "lives_in", value: "Marylebone" }] });
    const changes = graph.db.prepare("select op || ' ' || kind as c from change order by seq").all();
    expect(changes.map((row) => row["c"])).toEqual([
      "insert source",
      "insert entity",
      "insert alias",
      "insert relation",
      "insert fact",
      "insert evidence",
      "insert fact",
      "insert evidence",
      "close fact",
      "insert fact",
      "insert evidence",
    ]);
  });
});

describe("addFacts() again", () => {
  const batch = {
    entities: [{ name: "Ada", type: "person", aliases: ["Countess"], summary: "a mathematician" }],
    relations: [{ name: "lives_in", functional: true, inverse: "home_of" }],
    facts: [
      { subject: "Ada", relation: "lives_in", object: "London" },
      { subject: "Ada", relation: "knows", object: "Babbage", validFrom: "1833-06-05" },
      { subject: "Ada", relation: "likes", value: "horses", confidence: 0.6 },
    ],
  };

  test("changes nothing when the same source says the same, not even later", async () => {
    await using graph = await openGraph();
    await graph.add(batch);
    const before = rowsOf(graph.db, "change");
    graph.clock.advance(86_400_000);
    const { added } = await graph.add(batch);
    expect(added).toMatchObject({ added: 0, confirmed: 3, refined: 0, ended: 0, entitiesCreated: 0 });
    expect(rowsOf(graph.db, "change")).toBe(before);
  });

  test("adds the source and the higher confidence when another source says the same", async () => {
    await using graph = await openGraph();
    await graph.add(batch);
    const paper = { kind: "document", uri: "file:///letters.txt", title: "Letters", taint: ["files"] };
    const fact = { subject: "Ada", relation: "likes", value: "horses", confidence: 0.9 };
    expect((await graph.add({ facts: [fact] }, paper)).added).toMatchObject({ added: 0, confirmed: 1 });
    expect((await graph.add({ facts: [{ ...fact, confidence: 0.1 }] }, paper)).added).toMatchObject({ confirmed: 1 });
    const { page } = await graph.search("horses");
    const found = page.results[0]?.facts.find(({ relation }) => relation === "likes");
    expect(found).toMatchObject({
      confidence: 0.9,
      sources: [{ kind: "note" }, { title: "Letters", taint: ["files"] }],
    });
    expect(rowsOf(graph.db, "fact")).toBe(3);
  });

  test("keeps a summary, and says where another one belongs", async () => {
    await using graph = await openGraph();
    await graph.add(batch);
    await expect(graph.add({ entities: [{ name: "Ada", summary: "a countess" }] })).rejects.toMatchObject({
      code: "knowledge.bad_fact",
      message: expect.stringContaining('relation "description"'),
    });
  });
});

describe("addFacts() refuses", () => {
  test("a fact about an id that does not exist, and writes nothing of its batch", async () => {
    await using graph = await openGraph();
    const facts = [
      { subject: "Ada", relation: "knows", object: "Babbage" },
      { subject: "Ada", relation: "knows", object: "e_0000000000000000" },
    ];
    await expect(graph.add({ facts })).rejects.toMatchObject({ code: "knowledge.not_found" });
    for (const table of ["entity", "fact", "source", "change"] as const) expect(rowsOf(graph.db, table)).toBe(0);
    expect((await graph.add({ facts: facts.slice(0, 1) })).added.added).toBe(1);
  });

  test.each([
    ["an end before its beginning", { value: "x", validFrom: "2020", validTo: "2019" }],
    ["an empty interval", { value: "x", validFrom: "2020", validTo: "2020-01-01" }],
    ["a name of invisible characters", { object: "\u200b\u200b" }],
    ["a name with a control character", { object: "a\u0007b" }],
  ])("%s", async (_what, fact) => {
    await using graph = await openGraph();
    await expect(graph.add({ facts: [{ subject: "Ada", relation: "is", ...fact }] })).rejects.toMatchObject({
      code: "knowledge.bad_fact",
    });
    expect(rowsOf(graph.db, "entity")).toBe(0);
  });

  test.each([
    ["both an object and a value", { object: "x", value: "y" }],
    ["neither an object nor a value", {}],
    ["a date that does not exist", { value: "x", validFrom: "2021-02-30" }],
    ["a date in words", { value: "x", validFrom: "yesterday" }],
    ["a confidence above 1", { value: "x", confidence: 1.1 }],
    ["a value above its limit", { value: "x".repeat(4_001) }],
  ])("%s, by its schema", (_what, fact) => {
    const parse = (more: object) =>
      Additions.safeParse({ facts: [{ subject: "Ada", relation: "is", ...more }] }).success;
    expect(parse(fact)).toBe(false);
    expect(parse({ value: "x", validFrom: "2020-02-29", validTo: "2021-02-28T10:00:00+01:00" })).toBe(true);
  });

  test("more than 500 facts in one batch", async () => {
    await using graph = await openGraph();
    const facts = Array.from({ length: 501 }, (_, n) => ({ subject: "Ada", relation: "has", value: `${n}` }));
    expect(Additions.safeParse({ facts }).success).toBe(false);
    const { added } = await graph.add({ facts: facts.slice(1) });
    expect(added.added).toBe(500);
  });

  test("more than 100 aliases of an entity", async () => {
    await using graph = await openGraph();
    const aliases = (from: number) => Array.from({ length: 20 }, (_, n) => `alias ${from + n}`);
    for (const from of [0, 20, 40, 60, 80]) await graph.add({ entities: [{ name: "Ada", aliases: aliases(from) }] });
    await expect(graph.add({ entities: [{ name: "Ada", aliases: ["one more"] }] })).rejects.toMatchObject({
      code: "knowledge.bad_fact",
    });
    expect(rowsOf(graph.db, "alias")).toBe(100);
  });

  test("two values at once of a relation that has one", async () => {
    await using graph = await openGraph();
    const facts = ["London", "Paris"].map((value) => ({ subject: "Ada", relation: "lives_in", value }));
    const relations = [{ name: "lives_in", functional: true }];
    await expect(graph.add({ relations, facts })).rejects.toMatchObject({ code: "knowledge.bad_fact" });
    expect((await graph.add({ facts }, note)).added.added).toBe(2);
  });
});

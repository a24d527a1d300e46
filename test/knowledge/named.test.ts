import { describe, expect, test } from "vitest";
import { note, openGraph } from "./open-graph.ts";

async function openPeople() {
  const graph = await openGraph();
  await graph.add({
    entities: [
      { name: "Ada Lovelace", type: "person", aliases: ["Countess"] },
      { name: "Adam", type: "person" },
      { name: "Mercury", type: "planet" },
      { name: "Mercury", type: "metal" },
    ],
    facts: [{ subject: "Ada Lovelace", relation: "likes", value: "horses" }],
  });
  const named = async (name: string) => (await graph.knowledge.named(name)).map(({ shown }) => shown);
  return { ...graph, named };
}

describe("entities by name", () => {
  test("are found by name, alias and id, with what is known of them", async () => {
    await using people = await openPeople();
    const [ada] = await people.named("ada  LOVELACE");
    expect(ada).toMatchObject({
      name: "Ada Lovelace",
      type: "person",
      aliases: ["Countess"],
      facts: [{ value: "horses" }],
    });
    expect(await people.named("Countess")).toEqual([ada]);
    expect(await people.named(ada?.id ?? "")).toEqual([ada]);
    for (const other of ["Ada", "e_0000000000000000", "", "%"]) expect(await people.named(other)).toEqual([]);
  });

  test("are all of those that a name means", async () => {
    await using people = await openPeople();
    expect((await people.named("mercury")).map(({ type }) => type)).toEqual(["planet", "metal"]);
  });

  test("are found by the id of one that was merged into another", async () => {
    await using people = await openPeople();
    const [adam, ada] = [(await people.named("Adam"))[0], (await people.named("Countess"))[0]];
    people.db
      .prepare("update entity set merged_into = (select id from entity where uid = ?) where uid = ?")
      .run(ada?.id ?? "", adam?.id ?? "");
    expect(await people.named(adam?.id ?? "")).toEqual([ada]);
    expect(await people.named("Adam")).toEqual([]);
    expect(await people.knowledge.names("adam", 10)).toEqual([]);
  });

  test("carry the labels of whoever wrote them", async () => {
    await using people = await openPeople();
    await people.add(
      { facts: [{ subject: "Adam", relation: "likes", value: "apples" }] },
      { ...note, actor: "web", taint: ["web"] },
    );
    const labels = async (name: string) => (await people.knowledge.named(name)).map(({ taint }) => taint);
    expect(await labels("Adam")).toEqual([["web"]]);
    expect(await labels("Countess")).toEqual([[]]);
  });
});

describe("names", () => {
  test("are found by how they begin, in order, each once and no more than asked for", async () => {
    await using people = await openPeople();
    const names = (start: string, limit = 10) => people.knowledge.names(start, limit);
    expect(await names("AD")).toEqual(["Ada Lovelace", "Adam"]);
    expect(await names("")).toEqual(["Ada Lovelace", "Adam", "Mercury"]);
    expect(await names("", 1)).toEqual(["Ada Lovelace"]);
    expect(await names("d")).toEqual([]);
    expect(await names("%")).toEqual([]);
  });
});

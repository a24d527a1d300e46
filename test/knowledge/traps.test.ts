import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openKnowledge } from "../../src/knowledge/knowledge.ts";
import { demandFullText } from "../../src/knowledge/schema.ts";
import { slowCases } from "../support/cases.ts";
import { handClock } from "../support/clock.ts";
import { tempFolder } from "../support/temp.ts";
import { namesOf, openGraph } from "./open-graph.ts";

describe("a query is words, never syntax of full-text search", () => {
  test.each([
    "C++",
    "foo-bar",
    'say "hi" twice',
    "name:x",
    "NEAR(a b)",
    "NOT a",
    "a AND (b",
    "x*",
    "^x",
    "{name} : x",
    "it's; drop table fact",
    "100%_",
    "日本語",
    "👩‍🚀 crew",
  ])("%s finds the entity of that name", async (name) => {
    await using graph = await openGraph();
    await graph.add({ entities: [{ name }, { name: "something else" }] });
    expect(namesOf(await graph.search(name))[0]).toBe(name);
  });

  test("any text is searched without an error", async () => {
    await using graph = await openGraph();
    await graph.add({ facts: [{ subject: "Ada", relation: "is", value: "a mathematician" }] });
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", minLength: 1, maxLength: 80 }), async (text) => {
        const { page } = await graph.search(`.${text}`);
        expect(page.truncated).toBe(false);
      }),
      { numRuns: slowCases * 10 },
    );
  });
});

describe("the full-text indexes", () => {
  test("keep every part of an entity when one is added", async () => {
    await using graph = await openGraph();
    await graph.add({ entities: [{ name: "Engine", aliases: ["Motor"] }] });
    await graph.add({ entities: [{ name: "engine", summary: "it turns heat into motion" }] });
    await graph.add({ entities: [{ name: "ENGINE", aliases: ["Moteur"] }] });
    for (const query of ["engine", "motor", "moteur", "heat", "engin", "moteurs"]) {
      expect(namesOf(await graph.search(query))).toEqual(["Engine"]);
    }
  });

  test("hold what the tables hold after facts were ended and refined", async () => {
    await using graph = await openGraph();
    const lives = { subject: "Ada", relation: "lives_in" };
    await graph.add({ relations: [{ name: "lives_in", functional: true }], facts: [{ ...lives, value: "London" }] });
    graph.clock.advance(1_000);
    await graph.add({ facts: [{ ...lives, value: "Paris" }] });
    await graph.add({ facts: [{ ...lives, value: "Paris", validTo: "2027" }] });
    // With rank 1 the check compares the index with its content table, too.
    graph.db.exec("insert into fact_fts (fact_fts, rank) values ('integrity-check', 1)");
    graph.db.exec("insert into entity_fts (entity_fts) values ('integrity-check')");
    graph.db.exec("insert into entity_tri (entity_tri) values ('integrity-check')");
    expect(namesOf(await graph.search("paris"))).toEqual(["Ada"]);
    expect(namesOf(await graph.search("london"))).toEqual([]);
  });

  test("answer a word that is everywhere, and say that there is more", async () => {
    await using graph = await openGraph();
    for (let from = 0; from < 2_500; from += 500) {
      const facts = Array.from({ length: 500 }, (_, n) => ({
        subject: `item ${from + n}`,
        relation: "is",
        value: n === 250 && from === 0 ? "a common, rare thing" : "a common thing",
      }));
      await graph.add({ facts });
    }
    const common = await graph.search("common", { hops: 0 });
    expect(common.page.results).toHaveLength(10);
    expect(common.page.truncated).toBe(true);
    // A rarer word decides, and the common one does not hide it.
    expect(namesOf(await graph.search("common rare thing", { hops: 0 }))).toEqual(["item 250"]);
  });
});

describe("the file of a graph", () => {
  test("is opened only where SQLite has full-text search", () => {
    expect(() => demandFullText(["ENABLE_JSON1", "ENABLE_FTS3"])).toThrow(/FTS5/);
    expect(() => demandFullText(["ENABLE_FTS5"])).not.toThrow();
  });

  test("is refused when it is no database, or a newer one", async () => {
    await using folder = await tempFolder();
    const clock = handClock();
    const garbage = join(folder.path, "garbage.db");
    await writeFile(garbage, "this is a text\n".repeat(1_000));
    await expect(openKnowledge({ path: garbage, clock })).rejects.toMatchObject({ code: "store.corrupt" });
    await using graph = await openGraph();
    graph.db.exec("pragma user_version = 99");
    await expect(openKnowledge({ path: graph.path, clock })).rejects.toMatchObject({ code: "store.newer" });
  });

  test("is left in order: after closing, a call tells so", async () => {
    await using graph = await openGraph();
    await graph.knowledge[Symbol.asyncDispose]();
    await expect(graph.search("Ada")).rejects.toMatchObject({ code: "store.unavailable" });
  });

  test.each(["fact_spo", "fact_ops", "fact_hist", "fact_ops_hist", "entity_norm", "alias_entity", "source_hash"])(
    "is not opened without its index %s, which a hot statement names so that no other plan is taken",
    async (index) => {
      await using graph = await openGraph();
      graph.db.exec(`drop index ${index}`);
      await expect(openKnowledge({ path: graph.path, clock: handClock() })).rejects.toThrow(index);
    },
  );
});

import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Constraint } from "../../src/permissions/grant.ts";
import { openGraphs } from "../../src/knowledge/graphs.ts";
import { graphResources } from "../../src/tools/graph-resources.ts";
import { kgAddFactsTool } from "../../src/tools/kg-add-facts.ts";
import { callTool } from "../support/call-context.ts";
import { handClock } from "../support/clock.ts";
import { tempFolder } from "../support/temp.ts";
import { openReader } from "./readers.ts";

const uriOf = (name: string, graph = "default"): string =>
  `capstan://graphs/${graph}/entities/${encodeURIComponent(name)}`;
const template = "capstan://graphs/{graph}/entities/{name}";
const own: Constraint[] = [{ type: "uri", under: "capstan://graphs/default/" }];

/** Graphs with a little in them, read at a door under a grant with these rights. */
async function openGraphReader(resources: Constraint[] = own) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempFolder());
  const graphs = stack.use(openGraphs({ folder: join(folder.path, "knowledge"), clock: handClock() }));
  const adding = kgAddFactsTool({ graphs });
  const likes = (subject: string, value: string) => ({ facts: [{ subject, relation: "likes", value }] });
  await callTool(adding, likes("Ada Lovelace", "horses"));
  await callTool(adding, likes("AC/DC", "bells"));
  await callTool(adding, likes("Eve", "orders to follow"), { taint: ["web"] });
  await callTool(adding, { graph: "secret", ...likes("Mallory", "gold") });
  const reader = stack.use(await openReader({ resources: [graphResources(graphs)], rights: { resources } }));
  const owned = stack.move();
  const json = async (uri: string): Promise<unknown> => {
    const { outcome } = await reader.read(uri);
    const [part] = outcome.type === "done" ? outcome.contents : [];
    return part !== undefined && "text" in part ? JSON.parse(part.text) : undefined;
  };
  return { ...reader, graphs, json, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

describe("entities as resources", () => {
  test("are read by name as JSON", async () => {
    await using reader = await openGraphReader();
    expect(await reader.templates()).toEqual([template]);
    const read = await reader.json(uriOf("ada lovelace"));
    expect(read).toMatchObject({
      graph: "default",
      name: "Ada Lovelace",
      facts: [{ relation: "likes", value: "horses" }],
    });
    expect((await reader.read(uriOf("Ada Lovelace"))).taint).toEqual([]);
  });

  test("carry the labels of whoever wrote what is shown", async () => {
    await using reader = await openGraphReader();
    expect((await reader.read(uriOf("Eve"))).taint).toEqual(["web"]);
  });

  test("of other graphs, and what is not there, are unknown alike", async () => {
    await using reader = await openGraphReader();
    const unknown = [
      uriOf("Mallory", "secret"),
      uriOf("Mallory"),
      uriOf("x", "none"),
      "capstan://graphs/default/entities/",
      "capstan://graphs/default/entities/Ada%20Lovelace/more",
      "capstan://graphs/default/entities/Ada%20Lovelace?x=1",
      "capstan://graphs/default/entities/%",
      "capstan://graphs/default/../secret/entities/Mallory",
      "capstan://graphs/default/%2e%2e/secret/entities/Mallory",
    ];
    for (const uri of unknown) expect(await reader.code(uri), uri).toBe("resource.unknown");
    await using other = await openGraphReader([{ type: "uri", under: "capstan://graphs/secret/" }]);
    expect(await other.json(uriOf("Mallory", "secret"))).toMatchObject({ facts: [{ value: "gold" }] });
  });

  test("answer for a strange URI under any grant, and make no graph", async () => {
    await using reader = await openGraphReader([{ type: "any" }]);
    const strange = ["../../state", "..", "A", "a".repeat(41), "", "__proto__"];
    for (const graph of strange) expect(await reader.code(uriOf("x", graph)), graph).toBe("resource.unknown");
    for (const name of ["%00", "%ff", "%zz"]) {
      expect(await reader.code(`capstan://graphs/default/entities/${name}`)).toBe("resource.unknown");
    }
    expect(await reader.code(uriOf("x", "new"))).toBe("resource.unknown");
    expect(await reader.graphs.read(reader.grant.scope, "new", async () => "there")).toBeNull();
    expect(reader.faults).toEqual([]);
  });

  test("are read by id where a name can't stand in a URI that a grant names", async () => {
    await using reader = await openGraphReader();
    expect(await reader.code(uriOf("AC/DC"))).toBe("resource.unknown");
    await using all = await openGraphReader([{ type: "any" }]);
    const found = await all.json(uriOf("AC/DC"));
    const id = /e_[0-9a-f]{16}/.exec(JSON.stringify(found))?.[0] ?? "";
    expect(await all.json(uriOf(id))).toEqual(found);
  });

  test("of one name are given together, each under its id", async () => {
    await using reader = await openGraphReader();
    const mercury = (type: string) => ({ name: "Mercury", type });
    await callTool(kgAddFactsTool(reader), { entities: [mercury("planet"), mercury("metal")] });
    const { outcome } = await reader.read(uriOf("Mercury"));
    const uris = outcome.type === "done" ? outcome.contents.map(({ uri }) => uri) : [];
    expect(uris).toHaveLength(2);
    for (const uri of uris) expect(await reader.json(uri)).toMatchObject({ name: "Mercury" });
  });

  test("are completed by name, in the graph that is named and allowed", async () => {
    await using reader = await openGraphReader();
    const complete = (filled: Record<string, string>) => reader.complete({ uriTemplate: template }, "name", filled);
    expect(await complete({ graph: "default" })).toEqual(["Ada Lovelace", "Eve"]);
    expect(await complete({ graph: "secret" })).toEqual([]);
    expect(await complete({ graph: "../default" })).toEqual([]);
    expect(await complete({})).toEqual([]);
    expect(await reader.complete({ uriTemplate: template }, "graph")).toEqual([]);
  });
});

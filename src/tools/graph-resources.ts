import { mergeTaint } from "../core/taint.ts";
import type { Graphs } from "../knowledge/graphs.ts";
import { GraphName } from "../knowledge/graphs.ts";
import type { ResourceSource } from "./resource.ts";

const prefix = "capstan://graphs/";
const template = `${prefix}{graph}/entities/{name}`;

/** How many names are suggested at most. */
const maxNames = 100;

/**
 * What graphs of the caller's scope know, by entity: `capstan://graphs/GRAPH/entities/NAME`, where the name is that of an entity, an alias
 * or its id. A name that means several gives all of them, each under its id. They are read with the labels of whoever wrote what is
 * shown; a graph that does not exist has nothing in it.
 */
export function graphResources(graphs: Graphs): ResourceSource {
  return {
    name: "graphs",
    owns: (uri) => uri.startsWith(prefix),
    list: async () => [],
    templates: async () => [
      {
        uriTemplate: template,
        name: "entity",
        description: "An entity of a knowledge graph with its best facts, by its name, an alias or its id.",
        mimeType: "application/json",
      },
    ],

    async read(uri, { scope }) {
      const [, graph = "", encoded = ""] = /^capstan:\/\/graphs\/([^/]*)\/entities\/([^/?#]+)$/.exec(uri) ?? [];
      const name = decode(encoded);
      if (name === null || !GraphName.safeParse(graph).success) return null;
      const found = (await graphs.read(scope, graph, (knowledge) => knowledge.named(name))) ?? [];
      if (found.length === 0) return null;
      return {
        type: "done",
        contents: found.map(({ shown }) => ({
          uri: found.length === 1 ? uri : `${prefix}${graph}/entities/${shown.id}`,
          mimeType: "application/json",
          text: JSON.stringify({ graph, ...shown }),
        })),
        taint: mergeTaint(...found.map(({ taint }) => taint)),
      };
    },

    async complete(_template, { argument, filled }, { scope }) {
      const graph = filled["graph"] ?? "";
      // Which names may be suggested hangs on the graph: the door can tell only where it is filled in.
      if (argument.name !== "name" || !GraphName.safeParse(graph).success) return [];
      return (await graphs.read(scope, graph, (knowledge) => knowledge.names(argument.value, maxNames))) ?? [];
    },
  };
}

/** null for what is not encoded as UTF-8. */
function decode(encoded: string): string | null {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}

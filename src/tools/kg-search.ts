import { z } from "zod";
import type { Graphs } from "../knowledge/graphs.ts";
import { GraphName } from "../knowledge/graphs.ts";
import type { SearchPage } from "../knowledge/query.ts";
import { SearchPage as Page, SearchQuery } from "../knowledge/query.ts";
import { weights } from "../knowledge/rank.ts";
import { fromZod } from "./schema.ts";
import type { Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const nothing: SearchPage = { results: [], weights, truncated: false };

/**
 * `kg_search`: searches a graph of the caller's scope. The result carries the labels of whoever wrote what it shows; a graph that only
 * the user's own words went into gives none. A graph that does not exist has nothing in it, and searching does not make it.
 */
export function kgSearchTool({ graphs }: { readonly graphs: Graphs }): Tool {
  return defineTool({
    name: "kg_search",
    title: "Search the knowledge graph",
    description:
      "Finds entities and their facts in the knowledge graph: by exact name or alias, by words, by similar spelling, and by nearness " +
      "to what matches. Each result tells why it was found and where its facts come from.",
    input: fromZod(z.strictObject({ graph: GraphName.default("default"), ...SearchQuery.shape })),
    output: fromZod(z.strictObject({ graph: z.string(), ...Page.shape })),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: () => [],
    async run({ graph, ...query }, { scope, signal }) {
      signal.throwIfAborted();
      const searched = await graphs.read(scope, graph, (knowledge) => knowledge.search(query));
      if (searched === null) return { type: "done", value: { graph, ...nothing } };
      return { type: "done", value: { graph, ...searched.page }, taint: searched.taint };
    },
  });
}

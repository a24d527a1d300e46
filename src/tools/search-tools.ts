import { z } from "zod";
import type { Grant } from "../permissions/grant.ts";
import { fromZod } from "./schema.ts";
import { argumentsOf, rankTools } from "./discovery/rank.ts";
import type { Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const defaultLimit = 5;
const maxLimit = 20;
/** How much of one tool is shown. */
const maxRead = 1_000;
const maxSentence = 160;
const maxArguments = 16;
const maxArgumentName = 64;

/** Whoever searches knows these two. */
const own: ReadonlySet<string> = new Set(["search_tools", "describe_tool"]);

const Input = z.strictObject({
  query: z.string().min(1).max(500).describe("What the tool should do, in a few English words, or its name."),
  limit: z.int().min(1).max(maxLimit).optional().describe(`Default ${defaultLimit}.`),
});
const Output = z.strictObject({
  tools: z.array(z.strictObject({ name: z.string(), description: z.string(), arguments: z.array(z.string()) })),
});
type Output = z.infer<typeof Output>;

/**
 * `search_tools`: finds tools among those that the caller's grant lists. `listed` is the door's list.
 *
 * What it answers is marked as untrusted no more than a list of tools is, whose words it repeats: those of other servers are pinned,
 * and nothing that changed since is listed. Otherwise whoever finds tools instead of listing them all would be asked at each call.
 */
export function searchToolsTool({ listed }: { readonly listed: (grant: Grant) => readonly Tool[] }): Tool {
  return defineTool<z.infer<typeof Input>, Output>({
    name: "search_tools",
    title: "Find tools",
    description:
      "Finds tools, best match first. What it finds can be called by its name; where that is not listed, through call_tool, " +
      "or from execute_code as tools.NAME. describe_tool tells its arguments.",
    input: fromZod(Input),
    output: fromZod(Output),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: () => [],
    async run({ query, limit = defaultLimit }, { grant }) {
      const others = listed(grant).filter(({ name, source }) => !(own.has(name) && source === "builtin"));
      const found = rankTools(others, query, limit);
      return { type: "done", value: { tools: found.map(toLine) } };
    },
  });
}

function toLine(tool: Tool): Output["tools"][number] {
  const names = argumentsOf(tool).map(({ name }) => name.slice(0, maxArgumentName));
  return { name: tool.name, description: toSentence(tool.description), arguments: names.slice(0, maxArguments) };
}

/** The first sentence of a description, on one line, cut where it is long. */
function toSentence(description: string): string {
  const line = description.slice(0, maxRead).replace(/\s+/g, " ").trim();
  const [sentence = line] = /^.*?[.!?。](?=\s|$)/u.exec(line) ?? [];
  return sentence.length <= maxSentence ? sentence : `${sentence.slice(0, maxSentence).toWellFormed()}…`;
}

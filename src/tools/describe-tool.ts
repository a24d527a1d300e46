import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { nearest } from "../core/nearest.ts";
import { valueInWords } from "../core/value-in-words.ts";
import type { Grant } from "../permissions/grant.ts";
import { toFailure } from "./result.ts";
import { fromZod } from "./schema.ts";
import { toDeclarations } from "./discovery/declaration.ts";
import { rankTools } from "./discovery/rank.ts";
import type { Effect, Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

/** How many tools are named that may have been meant. */
const maxNear = 3;

const JsonSchema = z.record(z.string(), z.unknown());
const Output = z.strictObject({
  name: z.string(),
  title: z.string(),
  description: z.string(),
  source: z.string().describe("builtin, or the MCP server that has it"),
  effect: z.enum(["read", "idempotent", "once"]).describe("at worst; once: repeating a call does harm"),
  /** readOnly, destructive, idempotent, openWorld. Spelled out they would fill the context of a client that lists few tools. */
  hints: z.record(z.string(), z.boolean()),
  inputSchema: JsonSchema,
  outputSchema: JsonSchema.optional(),
  typescript: z.string().describe("its declaration, for code"),
  python: z.string(),
});

/** `describe_tool`: all that a caller needs to know to call a tool that its grant lists. `listed` is the door's list. */
export function describeToolTool({ listed }: { readonly listed: (grant: Grant) => readonly Tool[] }): Tool {
  return defineTool<{ name: string }, z.infer<typeof Output>>({
    name: "describe_tool",
    title: "Describe a tool",
    description: "Tells a tool's schemas, what it may do, and its declarations in TypeScript and Python.",
    input: fromZod(z.strictObject({ name: z.string().min(1).max(128) })),
    output: fromZod(Output),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: () => [],
    async run({ name }, { grant }) {
      const tools = listed(grant);
      const tool = tools.find((one) => one.name === name);
      if (tool === undefined) return unknownTool(name, tools);
      const { title, description, source, hints, inputSchema, outputSchema } = tool;
      const value = {
        ...{ name, title, description, source, effect: worstEffect(tool), hints: { ...hints } },
        inputSchema: { ...inputSchema },
        ...(outputSchema === undefined ? {} : { outputSchema: { ...outputSchema } }),
        ...toDeclarations(tool),
      };
      return { type: "done", value };
    },
  });
}

function worstEffect({ maybeOnce, hints }: Tool): Effect {
  if (maybeOnce) return "once";
  return hints.readOnly ? "read" : "idempotent";
}

/** The same for a tool that does not exist and for one that the grant does not list: only what it lists is named. */
function unknownTool(name: string, tools: readonly Tool[]): ReturnType<typeof toFailure> {
  const spelled = nearest(
    name,
    tools.map((tool) => tool.name),
  );
  const near = new Set([...tools.filter((tool) => tool.name === spelled), ...rankTools(tools, name, maxNear)]);
  const named = [...near].slice(0, maxNear);
  const hint =
    named.length === 0
      ? "Search with search_tools."
      : `Was one of these meant: ${named.map((tool) => tool.name).join(", ")}?`;
  const error = new CapstanError("tool.unknown", `No tool is called ${valueInWords(name)} here. ${hint}`);
  return toFailure(error);
}

import type { Tool as WireTool } from "@modelcontextprotocol/server";
import type { Tool } from "../../tools/tool.ts";

/** What each tool looks like to clients: a tool never changes, so neither does that. */
const known = new WeakMap<Tool, WireTool>();

/** A tool as tools/list shows it, for both eras. Made once for each tool. */
export function toWireTool(tool: Tool): WireTool {
  const before = known.get(tool);
  if (before !== undefined) return before;
  const { name, title, description, inputSchema, outputSchema, hints } = tool;
  const made: WireTool = {
    name,
    title,
    description,
    inputSchema: { ...inputSchema, type: "object" },
    // Older clients want an object at the root, also where the schema is a choice between objects.
    ...(outputSchema === undefined ? {} : { outputSchema: { ...outputSchema, type: "object" } }),
    annotations: {
      title,
      readOnlyHint: hints.readOnly,
      destructiveHint: hints.destructive,
      idempotentHint: hints.idempotent,
      openWorldHint: hints.openWorld,
    },
  };
  known.set(tool, made);
  return made;
}

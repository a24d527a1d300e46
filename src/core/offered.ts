import { z } from "zod";
import { ModelTool } from "./event.ts";

const Offered = z.array(ModelTool);

/** What was read or written last, by its text: the runs of a process are mostly offered the same. */
const known = new Map<string, readonly ModelTool[]>();
const maxKnown = 16;

/** Tools as `tools.offered` holds them: one text, so that a store keeps it once for all the runs that are offered the same. */
export function writeTools(tools: readonly ModelTool[]): string {
  for (const [text, others] of known) if (isSame(tools, others)) return text;
  const text = JSON.stringify(tools);
  if (!known.has(text)) remember(text, tools);
  return text;
}

/** The tools of that text. Throws for one that `writeTools` has not made. */
export function readTools(text: string): readonly ModelTool[] {
  return known.get(text) ?? remember(text, Offered.parse(JSON.parse(text)));
}

const isSame = (tools: readonly ModelTool[], others: readonly ModelTool[]): boolean =>
  tools.length === others.length && tools.every((tool, place) => tool === others[place]);

function remember(text: string, tools: readonly ModelTool[]): readonly ModelTool[] {
  const [oldest] = known.keys();
  if (known.size >= maxKnown && oldest !== undefined) known.delete(oldest);
  known.set(text, tools);
  return tools;
}

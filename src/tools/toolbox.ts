import { CapstanError } from "../core/error.ts";
import type { Tool } from "./tool.ts";

/** Every tool of the process, in one fixed order (by name), found by exact name only. */
export interface Toolbox {
  readonly tools: readonly Tool[];
  find(name: string): Tool | undefined;
}

/** Builds the toolbox; two tools of one name throw `tool.bad_definition`. */
export function toToolbox(tools: readonly Tool[]): Toolbox {
  const byName = new Map<string, Tool>();
  for (const tool of tools) {
    if (byName.has(tool.name)) {
      throw new CapstanError("tool.bad_definition", `Two tools are called "${tool.name}". Rename one of them.`);
    }
    byName.set(tool.name, tool);
  }
  const sorted = [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return { tools: sorted, find: (name) => byName.get(name) };
}

import { CapstanError } from "../core/error.ts";
import type { PromptSource } from "./prompt.ts";
import type { ResourceSource } from "./resource.ts";
import type { Tool } from "./tool.ts";

/** What changed in the toolbox. */
export type ToolboxChange = "tools" | "resources" | "prompts";

/** Tools, resources and prompts that come and go while the process runs: the MCP servers behind. */
export interface Source {
  readonly tools: () => readonly Tool[];
  readonly resources: readonly ResourceSource[];
  readonly prompts: readonly PromptSource[];
  /** Calls the listener after each change, until it is disposed. */
  onChange(listener: (change: ToolboxChange) => void): Disposable;
}

/** Everything that stands behind the door, in one fixed order (by name), found by exact name only. */
export interface Toolbox {
  /** The tools there are now; the same array until they change. */
  readonly tools: readonly Tool[];
  find(name: string): Tool | undefined;
  readonly resources: readonly ResourceSource[];
  readonly prompts: readonly PromptSource[];
  onChange(listener: (change: ToolboxChange) => void): Disposable;
}

export interface ToolboxParts {
  readonly tools: readonly Tool[];
  readonly resources?: readonly ResourceSource[];
  readonly prompts?: readonly PromptSource[];
  /** Whose tools come and go. One that has the name of another tool is left out: the one that was there first stays what it is. */
  readonly sources?: readonly Source[];
}

/** Builds the toolbox; two own tools of one name throw `tool.bad_definition`. */
export function toToolbox({ tools, resources = [], prompts = [], sources = [] }: ToolboxParts): Toolbox {
  const own = new Map<string, Tool>();
  for (const tool of tools) {
    if (own.has(tool.name)) {
      throw new CapstanError("tool.bad_definition", `Two tools are called "${tool.name}". Rename one of them.`);
    }
    own.set(tool.name, tool);
  }
  const listeners = new Set<(change: ToolboxChange) => void>();
  let { byName, sorted } = collect(own, sources);
  for (const source of sources) {
    source.onChange((change) => {
      if (change === "tools") ({ byName, sorted } = collect(own, sources));
      for (const listener of [...listeners]) listener(change);
    });
  }
  return {
    get tools() {
      return sorted;
    },
    find: (name) => byName.get(name),
    resources: [...resources, ...sources.flatMap((source) => source.resources)],
    prompts: [...prompts, ...sources.flatMap((source) => source.prompts)],
    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
  };
}

function collect(
  own: ReadonlyMap<string, Tool>,
  sources: readonly Source[],
): { readonly byName: ReadonlyMap<string, Tool>; readonly sorted: readonly Tool[] } {
  const byName = new Map(own);
  for (const tool of sources.flatMap((source) => source.tools())) {
    if (!byName.has(tool.name)) byName.set(tool.name, tool);
  }
  return { byName, sorted: [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) };
}

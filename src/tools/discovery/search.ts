import type { Tool } from "../tool.ts";

/** How tools are offered to a client. */
export interface DiscoverySettings {
  /** `all` lists every tool, `search` only the entry set; `auto` searches where the definitions are larger than `discoveryTokens`. */
  readonly discovery: "auto" | "all" | "search";
  readonly discoveryTokens: number;
}

/** What finds the other tools. */
const finders: readonly string[] = ["search_tools", "describe_tool"];
/** Reaches them from code, many in one call. */
const entries: ReadonlySet<string> = new Set([...finders, "execute_code"]);

/** How the tokens of a definition are estimated, without a tokenizer of any one model. */
const charsPerToken = 4;

/**
 * Which of the tools that a grant lists are shown to a client: all of them, or the entry set, by which the others are found. It follows from the list alone. A grant that lacks one of the finders is shown everything: its tools could
 * not be found otherwise.
 */
export function entrySet(listed: readonly Tool[], { discovery, discoveryTokens }: DiscoverySettings): readonly Tool[] {
  const canFind = finders.every((name) => listed.some((tool) => isEntry(tool) && tool.name === name));
  if (discovery === "all" || !canFind) return listed;
  if (discovery === "auto" && isWithin(listed, discoveryTokens * charsPerToken)) return listed;
  return listed.filter(isEntry);
}

/** Whether a tool is shown in any case; one of another server that has such a name is none. */
const isEntry = ({ name, source }: Tool): boolean => entries.has(name) && source === "builtin";

function isWithin(tools: readonly Tool[], maxChars: number): boolean {
  let chars = 0;
  return tools.every((tool) => (chars += definitionChars(tool)) <= maxChars);
}

const sizes = new WeakMap<Tool, number>();

/** The characters of a definition as JSON, as tools/list writes it. */
function definitionChars(tool: Tool): number {
  let chars = sizes.get(tool);
  if (chars === undefined) {
    const { name, title, description, inputSchema, outputSchema, hints } = tool;
    const annotations = { title, ...hints };
    chars = JSON.stringify({ name, title, description, inputSchema, outputSchema, annotations }).length;
    sizes.set(tool, chars);
  }
  return chars;
}

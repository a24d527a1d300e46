import { isJsonObject } from "../core/json.ts";
import type { Tool } from "./tool.ts";
import { toWords } from "./tool-search-words.ts";

/** How tools are offered to a client. */
export interface DiscoverySettings {
  /** `all` lists every tool, `search` only the entry set; `auto` searches where the definitions are larger than `discoveryTokens`. */
  readonly discovery: "auto" | "all" | "search";
  readonly discoveryTokens: number;
}

/** What finds the other tools. */
const finders: readonly string[] = ["search_tools", "describe_tool"];
/** Reaches them from code too, for clients that let their model call nothing but what is listed. */
const entries: ReadonlySet<string> = new Set([...finders, "execute_code"]);

/** How the tokens of a definition are estimated, without a tokenizer of any one model. */
const charsPerToken = 4;

/**
 * Which of the tools that a grant lists are shown to a client: all of them, or the entry set, by which the others are found and then
 * called by their names. It follows from the list alone. A grant that lacks one of the finders is shown everything: its tools could
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

/** How much a word counts by where it stands. */
const weights = { name: 4, title: 2, description: 1, argument: 1, argumentDescription: 0.5 } as const;
/** The usual constants of BM25: how soon repeating a word stops to count, and how much a long text is held against it. */
const saturation = 1.2;
const lengthShare = 0.75;
/** What the beginning of a word counts beside the word. */
const beginningShare = 0.5;
const leastBeginning = 3;
const maxQueryWords = 16;
const maxArguments = 64;

/** A tool as the search sees it: how much each word weighs in it. */
interface Entry {
  readonly tool: Tool;
  readonly words: ReadonlyMap<string, number>;
  readonly length: number;
}

const known = new WeakMap<Tool, Entry>();

/**
 * The tools that fit a query best, best first, at most `limit`; a tool of exactly that name is first, equals stand by name. Nothing but
 * the given tools counts in the ranking, so that it tells nothing of others. Words without endings count, and where a word is in no
 * tool, what begins like it.
 */
export function rankTools(tools: readonly Tool[], query: string, limit: number): readonly Tool[] {
  const all = tools.map(toEntry);
  const average = all.reduce((sum, { length }) => sum + length, 0) / all.length;
  const scores = new Map<Tool, number>();
  for (const word of [...new Set(toWords(query))].slice(0, maxQueryWords)) {
    const exact = all.map(({ words }) => words.get(word) ?? 0);
    const counts = exact.some((count) => count > 0) ? exact : all.map(({ words }) => countBeginnings(words, word));
    const having = counts.filter((count) => count > 0).length;
    const rarity = Math.log(1 + (all.length - having + 0.5) / (having + 0.5));
    for (const [index, { tool, length }] of all.entries()) {
      const count = counts[index] ?? 0;
      if (count === 0) continue;
      const damping = saturation * (1 - lengthShare + lengthShare * (length / average));
      scores.set(tool, (scores.get(tool) ?? 0) + (rarity * count * (saturation + 1)) / (count + damping));
    }
  }
  const wanted = query.trim().toLowerCase();
  for (const tool of tools) if (tool.name.toLowerCase() === wanted) scores.set(tool, Infinity);
  return [...scores]
    .sort(([a, scoreA], [b, scoreB]) => (scoreA === scoreB ? (a.name < b.name ? -1 : 1) : scoreB - scoreA))
    .slice(0, limit)
    .map(([tool]) => tool);
}

function countBeginnings(words: ReadonlyMap<string, number>, wanted: string): number {
  let count = 0;
  for (const [word, weight] of words) {
    if (Math.min(word.length, wanted.length) < leastBeginning) continue;
    if (word.startsWith(wanted) || wanted.startsWith(word)) count += weight * beginningShare;
  }
  return count;
}

/** A tool never changes, so it is read once, whoever searches. */
function toEntry(tool: Tool): Entry {
  const before = known.get(tool);
  if (before !== undefined) return before;
  const words = new Map<string, number>();
  const add = (text: string, weight: number): void => {
    for (const word of toWords(text)) words.set(word, (words.get(word) ?? 0) + weight);
  };
  add(tool.name, weights.name);
  if (tool.title !== tool.name) add(tool.title, weights.title);
  add(tool.description, weights.description);
  for (const { name, description } of argumentsOf(tool).slice(0, maxArguments)) {
    add(name, weights.argument);
    add(description, weights.argumentDescription);
  }
  const entry = { tool, words, length: words.values().reduce((sum, weight) => sum + weight, 0) };
  known.set(tool, entry);
  return entry;
}

/** The arguments that a tool's schema names, in their order. */
export function argumentsOf({ inputSchema }: Tool): readonly { readonly name: string; readonly description: string }[] {
  const properties = inputSchema["properties"];
  if (!isJsonObject(properties)) return [];
  return Object.entries(properties).map(([name, schema]) => {
    const description = isJsonObject(schema) ? schema["description"] : undefined;
    return { name, description: typeof description === "string" ? description : "" };
  });
}

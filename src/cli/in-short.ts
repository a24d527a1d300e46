import type { ToolOutcome } from "../core/event.ts";
import { isJsonObject } from "../core/json.ts";
import type { Json } from "../core/json.ts";

/** Text in one line of at most so many characters. */
export function inShort(text: string, most = 160): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** What a tool gave, in a few words: how many of what, a status, the value itself, or the beginning of its text. */
export function outcomeInShort({ value, content = [], isError }: ToolOutcome): string {
  const text = content.map((block) => (block.type === "text" ? block.text : `[${block.type}]`)).join(" ");
  const said = value === undefined ? text : valueInShort(value);
  // A failure says why in its text; some have a value beside it.
  return isError ? `failed: ${inShort(text === "" ? said : text)}` : inShort(said === "" ? "done" : said);
}

function valueInShort(value: Json): string {
  if (!isJsonObject(value)) return Array.isArray(value) ? countInWords(value.length, "entries") : toText(value);
  const { status } = value;
  if (typeof status === "string") return status;
  const list = Object.entries(value).find(([, inside]) => Array.isArray(inside));
  const [name, entries] = list ?? [];
  return name !== undefined && Array.isArray(entries) ? countInWords(entries.length, name) : toText(value);
}

const toText = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

/** `3 entries`, `1 entry`, `2 matches`, `1 match`: the names of lists are English plurals. */
function countInWords(count: number, plural: string): string {
  if (count !== 1) return `${count} ${plural}`;
  return `1 ${plural
    .replace(/ies$/, "y")
    .replace(/(ch|sh|ss|x)es$/, "$1")
    .replace(/([^s])s$/, "$1")}`;
}

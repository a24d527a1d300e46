import { isJsonObject } from "../../core/json.ts";
import { toWords, wordsAlike } from "./words.ts";
import type { Tool } from "../tool.ts";

/**
 * The two texts of a tool, ranked each for itself: a word that every description has still tells names apart. `share` is what a text
 * counts, and the others how often each of its parts does.
 */
const texts = {
  name: { share: 3, of: ({ name, title }: Tool) => [[name, 2] as const, [title === name ? "" : title, 1] as const] },
  about: {
    share: 1,
    of: (tool: Tool) => [
      [tool.description, 2] as const,
      ...argumentsOf(tool)
        .slice(0, maxArguments)
        .flatMap(({ name, description }) => [[name, 2] as const, [description, 1] as const]),
    ],
  },
};
const textNames = ["name", "about"] as const;
/** The usual constants of BM25: how soon repeating a word stops to count, and how much a long text is held against it. */
const saturation = 1.2;
const lengthShare = 0.75;
/** What a word counts beside the one that was asked for: one that means the same here, and one that begins like it. */
const alikeShare = 0.5;
const beginningShare = 0.5;
const leastBeginning = 3;
const maxQueryWords = 16;
const maxArguments = 64;

/** How often each word stands in a text, and how long the text is. */
interface Text {
  readonly words: ReadonlyMap<string, number>;
  readonly length: number;
}
type Entry = Readonly<Record<(typeof textNames)[number], Text>>;

const known = new WeakMap<Tool, Entry>();

/**
 * The tools that fit a query best, best first, at most `limit`; a tool of exactly that name is first, equals stand by name. Nothing but
 * the given tools counts in the ranking, so that it tells nothing of others. Words without endings count, and where a word is in no
 * tool, what begins like it.
 */
export function rankTools(tools: readonly Tool[], query: string, limit: number): readonly Tool[] {
  const entries = tools.map(toEntry);
  const scores = tools.map(() => 0);
  for (const [word, share] of toTerms(query)) {
    const isKnown = entries.some((entry) => textNames.some((name) => entry[name].words.has(word)));
    // Only what was asked for itself: the words that mean the same are added to it.
    if (!isKnown && share < 1) continue;
    const countIn = ({ words }: Text): number => (isKnown ? (words.get(word) ?? 0) : countBeginnings(words, word));
    for (const name of textNames) {
      const relevances = relevancesOf(
        entries.map((entry) => entry[name]),
        countIn,
      );
      for (const [index, relevance] of relevances.entries()) {
        scores[index] = (scores[index] ?? 0) + share * texts[name].share * relevance;
      }
    }
  }
  const wanted = query.trim().toLowerCase();
  return tools
    .map((tool, index) => ({ tool, score: tool.name.toLowerCase() === wanted ? Infinity : (scores[index] ?? 0) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => (a.score === b.score ? (a.tool.name < b.tool.name ? -1 : 1) : b.score - a.score))
    .slice(0, limit)
    .map(({ tool }) => tool);
}

/** The words of a query and those that mean the same, with what each counts. */
function toTerms(query: string): ReadonlyMap<string, number> {
  const words = [...new Set(toWords(query))].slice(0, maxQueryWords);
  const alike = words.flatMap(wordsAlike).map((word) => [word, alikeShare] as const);
  return new Map([...alike, ...words.map((word) => [word, 1] as const)]);
}

/** How relevant one word makes each of the texts: BM25. */
function relevancesOf(all: readonly Text[], countIn: (text: Text) => number): readonly number[] {
  const counts = all.map(countIn);
  const having = counts.filter((count) => count > 0).length;
  if (having === 0) return [];
  const rarity = Math.log(1 + (all.length - having + 0.5) / (having + 0.5));
  const average = all.reduce((sum, { length }) => sum + length, 0) / all.length;
  return all.map(({ length }, index) => {
    const count = counts[index] ?? 0;
    const damping = saturation * (1 - lengthShare + lengthShare * (length / average));
    return (rarity * count * (saturation + 1)) / (count + damping);
  });
}

function countBeginnings(words: ReadonlyMap<string, number>, wanted: string): number {
  let count = 0;
  for (const [word, times] of words) {
    if (Math.min(word.length, wanted.length) < leastBeginning) continue;
    if (word.startsWith(wanted) || wanted.startsWith(word)) count += times * beginningShare;
  }
  return count;
}

/** A tool never changes, so it is read once, whoever searches. */
function toEntry(tool: Tool): Entry {
  let entry = known.get(tool);
  if (entry === undefined) {
    entry = { name: toText(texts.name.of(tool)), about: toText(texts.about.of(tool)) };
    known.set(tool, entry);
  }
  return entry;
}

function toText(parts: readonly (readonly [text: string, times: number])[]): Text {
  const words = new Map<string, number>();
  for (const [text, times] of parts) {
    for (const word of toWords(text)) words.set(word, (words.get(word) ?? 0) + times);
  }
  return { words, length: words.values().reduce((sum, times) => sum + times, 0) };
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

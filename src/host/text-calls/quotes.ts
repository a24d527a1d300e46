import type { ModelTool } from "../../core/event.ts";
import type { Json } from "../../core/json.ts";
import { toResultText } from "../../core/result-text.ts";
import type { ContextMessage } from "../../core/run.ts";
import type { ModelRequest } from "../provider.ts";
import { toPlain } from "./plain.ts";
import type { TextCall } from "./recognize.ts";
import { findCalls } from "./recognize.ts";

/** How far from a tool's name its arguments may stand to be taken for those of one call, beside their own length. */
const slackChars = 200;
/** A text that names a tool more often is taken to hold any call of it. */
const maxNames = 1_000;
/** Arguments with more parts are looked for in one piece. */
const maxParts = 50;

/**
 * Tells whether a call stands in what the model was told: in results, in what people or other programs said, in summaries of that, in
 * its instructions, which may hold the variables of an agent, or in what describes tools and their arguments. Then a model that writes it may only quote it. Compared are letters and digits alone,
 * whatever escapes, spaces, order or marks are around them; what is encoded otherwise, or told in other words, is not seen through.
 */
export function openQuotes({
  system = "",
  messages,
  tools,
}: Pick<ModelRequest, "system" | "messages" | "tools">): (call: TextCall) => boolean {
  let told: readonly string[] | undefined;
  let joined = "";
  return ({ name, args }) => {
    if (told === undefined) {
      const said = messages.flatMap(textsOf);
      joined = said.join("");
      told = [...said, toPlain(system), ...quotationsOf(messages), ...tools.flatMap(textsOfTool)];
    }
    const parts = toParts(args);
    const needed = parts.length > maxParts ? [toPlain(JSON.stringify(args))] : parts;
    const reach = needed.reduce((sum, part) => sum + part.length, slackChars);
    return told.some((text) => holds(text, toPlain(name), needed, reach)) || isSplit(joined, toPlain(name), needed);
  };
}

/**
 * Whether a call was told in pieces, such as in two results: somewhere one begins, and all that is in it stands somewhere. A name alone is
 * no beginning, since people say which tool is to be used on what another one finds.
 */
function isSplit(text: string, name: string, parts: readonly string[]): boolean {
  const begins = ["arguments", "parameters"].some((word) => text.includes(`name${name}${word}`));
  return begins && parts.every((part) => text.includes(part));
}

function holds(text: string, name: string, parts: readonly string[], reach: number): boolean {
  if (parts.some((part) => !text.includes(part))) return false;
  let names = 0;
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    names += 1;
    if (names > maxNames) return true;
    const near = text.slice(Math.max(0, at - reach), at + name.length + reach);
    // Without arguments the words around a call must be there.
    const isCall = parts.length > 0 || /arguments|parameters|args/.test(near);
    if (isCall && parts.every((part) => near.includes(part))) return true;
  }
  return false;
}

/** Each value in arguments, with the key that it stands under. Of a number, which can be written in many ways, the key alone. */
function toParts(value: Json, key = ""): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item: Json) => toParts(item));
  if (typeof value === "object" && value !== null)
    return Object.entries(value).flatMap(([inner, item]) => toParts(item, inner));
  const part = toPlain(key) + (typeof value === "number" ? "" : toPlain(String(value)));
  return part === "" ? [] : [part];
}

/** Calls that stayed text when the model wrote them, where what they were quoted from may have been summed up since. */
function quotationsOf(messages: readonly ContextMessage[]): readonly string[] {
  if (!messages.some((message) => message.role === "user" && message.summary === true)) return [];
  const parts = messages.flatMap((message) => (message.role === "assistant" ? message.parts : []));
  const texts = parts.flatMap((part) => (part.type === "text" ? [part.text] : []));
  return texts.flatMap((text) => findCalls(text, "auto").map(({ start, end }) => toPlain(text.slice(start, end))));
}

/** What is said of a tool and, in its schema, of its arguments. Each text alone: a schema as a whole has the names of any call of the tool. */
function textsOfTool({ description, inputSchema }: ModelTool): readonly string[] {
  const texts = [description];
  const left: unknown[] = [inputSchema];
  for (let item = left.pop(); item !== undefined; item = left.pop()) {
    if (typeof item === "string") texts.push(item);
    else if (typeof item === "object" && item !== null) for (const part of Object.entries(item).flat()) left.push(part);
  }
  return texts.map(toPlain);
}

/** Messages stay the same objects from turn to turn. */
const known = new WeakMap<ContextMessage, readonly string[]>();

function textsOf(message: ContextMessage): readonly string[] {
  const before = known.get(message);
  if (before !== undefined) return before;
  const texts = rawTextsOf(message).map(toPlain);
  known.set(message, texts);
  return texts;
}

function rawTextsOf(message: ContextMessage): readonly string[] {
  if (message.role === "assistant") return [];
  // All that the model reads of a result, names and addresses in it too.
  return [toResultText(message.role === "tool" ? message.outcome : { content: [...message.content], isError: false })];
}

import type { Json, JsonObject } from "../../core/json.ts";
import { isJsonObject, parseJson } from "../../core/json.ts";
import type { TextCallFormat } from "./format.ts";
import { closeTag, openTag } from "./format.ts";

/** Calls that stand together in a text, from `start` to `end`, in UTF-16 units. */
interface CallsInText {
  readonly start: number;
  readonly end: number;
  readonly calls: readonly TextCall[];
}

export interface TextCall {
  readonly name: string;
  readonly args: JsonObject;
}

/** Around what some models think aloud before they answer. */
export const thoughtStart = "<think>";
export const thoughtEnd = "</think>";
/** Llama's and Mistral's tokens before calls. */
export const pythonTag = "<|python_tag|>";
const mistralTag = "[TOOL_CALLS]";

/** The longest message in which calls are looked for, in UTF-16 units. */
const maxChars = 256 * 1024;

/**
 * The calls that a message holds in the given format, in order, whatever tools there are. Read strictly: what is not wholly of the format
 * is text. What stands within a code block is an example, and what a model thinks aloud (`<think>`) is none of its words. The work is
 * linear in the text.
 */
export function findCalls(text: string, format: TextCallFormat): readonly CallsInText[] {
  if (text.length > maxChars) return [];
  const from = afterThoughts(text);
  if (from < 0) return [];
  const is = (one: TextCallFormat): boolean => format === one || format === "auto";
  const whole = is("json") ? wholeMessage(text, from) : [];
  if (whole.length > 0) return whole;
  const blocks = toBlocks(text, from);
  const found = [
    ...(is("fenced") ? blocks.flatMap(fencedCalls) : []),
    ...(is("xml") ? taggedCalls(withoutBlocks(text, blocks), from) : []),
  ];
  return found.toSorted((a, b) => a.start - b.start);
}

function afterThoughts(text: string): number {
  if (!text.trimStart().startsWith(thoughtStart)) return 0;
  const end = text.indexOf(thoughtEnd);
  return end < 0 ? -1 : end + thoughtEnd.length;
}

/** `{…}` or `[…]` and nothing else, as Llama and Mistral write it too: after a token of theirs. */
function wholeMessage(text: string, from: number): readonly CallsInText[] {
  const body = text.slice(from).trim();
  const start = text.length - text.slice(from).trimStart().length;
  const named = /^\[TOOL_CALLS\]\s*([\w.-]{1,128})\[ARGS\]([^]*)$/.exec(body);
  const args = named === null ? undefined : parseJson(named[2] ?? "");
  const calls = isJsonObject(args)
    ? [{ name: named?.[1] ?? "", args }]
    : toCalls(body.slice([pythonTag, mistralTag].find((tag) => body.startsWith(tag))?.length ?? 0));
  return calls.length === 0 ? [] : [{ start, end: text.length, calls }];
}

interface CodeBlock {
  readonly start: number;
  readonly end: number;
  /** What stands behind its first fence. */
  readonly language: string;
  readonly body: string;
}

/** The code blocks of a text, each from its first fence to its last; one without an end goes to the end of the text, and has no body. */
function toBlocks(text: string, from: number): readonly CodeBlock[] {
  const blocks: CodeBlock[] = [];
  const fence = /^( {0,3})(`{3,}|~{3,})([^`\n]*)$/gm;
  fence.lastIndex = from;
  let open: {
    readonly start: number;
    readonly marks: string;
    readonly language: string;
    readonly body: number;
  } | null = null;
  for (let found = fence.exec(text); found !== null; found = fence.exec(text)) {
    const { index, 0: line, 1: indent = "", 2: marks = "", 3: info = "" } = found;
    if (open === null) {
      // Only a block of a few backticks at the very edge may be a call.
      const language = indent === "" && /^`{3,8}$/.test(marks) ? info : "text";
      open = { start: index, marks, language, body: index + line.length };
    } else if (marks.startsWith(open.marks) && info.trim() === "") {
      const { start, language, body } = open;
      blocks.push({ start, end: index + line.length, language, body: text.slice(body, index) });
      open = null;
    }
  }
  if (open !== null) blocks.push({ start: open.start, end: text.length, language: open.language, body: "" });
  return blocks;
}

function fencedCalls({ start, end, language, body }: CodeBlock): readonly CallsInText[] {
  if (!/^[ \t]{0,9}(?:json|tool_calls?)?[ \t\r]{0,9}$/i.test(language)) return [];
  const calls = toCalls(body);
  return calls.length === 0 ? [] : [{ start, end, calls }];
}

/** The text with something in place of its code blocks that is no JSON and as long. */
function withoutBlocks(text: string, blocks: readonly CodeBlock[]): string {
  let masked = "";
  for (const { start, end } of blocks) {
    masked += text.slice(masked.length, start);
    masked += "`".repeat(end - start);
  }
  return masked + text.slice(masked.length);
}

function taggedCalls(text: string, from: number): readonly CallsInText[] {
  const found: CallsInText[] = [];
  for (let start = text.indexOf(openTag, from); start >= 0;) {
    const body = start + openTag.length;
    const close = text.indexOf(closeTag, body);
    if (close < 0) break;
    const end = close + closeTag.length;
    const calls = toCalls(text.slice(body, close));
    if (calls.length > 0) found.push({ start, end, calls });
    start = text.indexOf(openTag, end);
  }
  return found;
}

/** The calls that a piece of JSON is: one, a list of them, or `{"tool_calls": […]}`. None if any of it is something else. */
function toCalls(text: string): readonly TextCall[] {
  const value = /^\s*[[{]/.test(text) ? parseJson(text) : undefined;
  if (value === undefined) return [];
  const list = isJsonObject(value) && Object.keys(value).join() === "tool_calls" ? value["tool_calls"] : value;
  const calls = (Array.isArray(list) ? list : [list]).map(toCall);
  return calls.every((call) => call !== undefined) ? calls : [];
}

/** `{"name", "arguments"}`, which some call `parameters`, alone or as `{"type": "function", "function": …}`. */
function toCall(value: Json | undefined): TextCall | undefined {
  if (!isJsonObject(value)) return undefined;
  const { id: _id, type = "function", ...rest } = value;
  if (type !== "function") return undefined;
  const inner = Object.keys(rest).join() === "function" ? rest["function"] : rest;
  if (!isJsonObject(inner)) return undefined;
  const { name, arguments: given, parameters, ...others } = inner;
  if (typeof name !== "string" || Object.keys(others).length > 0) return undefined;
  if ((given === undefined) === (parameters === undefined)) return undefined;
  const args = given ?? parameters;
  const read = typeof args === "string" ? parseJson(args) : args;
  return isJsonObject(read) ? { name, args: read } : undefined;
}

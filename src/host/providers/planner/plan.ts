import type { JsonObject } from "../../../core/json.ts";
import type { Step } from "./steps.ts";
import { toStep, unquote } from "./steps.ts";

/** A task as steps, all of them understood; or the part that was not, and then nothing is done. */
export type Plan = { readonly steps: readonly Step[] } | { readonly unclear: string };

/** A step at the head of a text, and what follows it. */
interface Head {
  readonly step: Step;
  readonly rest: string;
}

/** No task has more steps than this by intention. */
const maxSteps = 50;
/** Longer than what anybody says in one sentence; code and arguments have forms of their own. */
const maxSentenceChars = 1_000;

/** Splits a task into steps, in their order. It sees the text alone: what a step brings changes no later one. */
export function toPlan(task: string): Plan {
  const steps: Step[] = [];
  let rest = task.trim();
  while (rest !== "") {
    const head = takeDirectCall(rest) ?? takeCode(rest);
    const sentence = head === null ? takeSentence(rest) : null;
    const found = head === null ? toSteps(sentence?.said ?? "") : [head.step];
    if (found === null || steps.length + found.length > maxSteps) return { unclear: sentence?.said ?? rest };
    steps.push(...found);
    rest = (head ?? sentence)?.rest.trim() ?? "";
  }
  return steps.length === 0 ? { unclear: "" } : { steps };
}

/** What parts one step from the next without doubt; within quotes it parts nothing. */
const separator =
  /(?:,\s*|\s+|;\s*|\.\s+)(?:and\s+)?(?:then|after that|afterwards|finally)[,\s]+|;\s*|[\n\r]\s*|[.!?]\s+(?=[A-Z"“`])/i;
/** What may part two steps, or two words of one. */
const maybeSeparator = /,?\s+and\s+(?:also\s+)?|,\s*/gi;

function takeSentence(text: string): { readonly said: string; readonly rest: string } {
  const body = text.replace(/^(?:[-*•]|\d+[.)])\s+/, "");
  const end = separator.exec(maskQuoted(body));
  if (end === null) return { said: body, rest: "" };
  return { said: body.slice(0, end.index), rest: body.slice(end.index + end[0].length) };
}

/**
 * "Add a todo to buy milk and bread" is one step; "… and show my todos" is two, because what follows is a step of its own. `seen`
 * keeps what was found for each end of the sentence, so that no end is looked at twice.
 */
function toSteps(sentence: string, seen = new Map<string, readonly Step[] | null>()): readonly Step[] | null {
  const known = seen.get(sentence);
  if (known !== undefined || sentence.length > maxSentenceChars) return known ?? null;
  const whole = toStep(sentence);
  let found = whole === null ? null : [whole];
  for (const { index, 0: between } of maskQuoted(sentence).matchAll(maybeSeparator)) {
    const tail = toSteps(sentence.slice(index + between.length), seen);
    const head = tail === null ? null : toStep(sentence.slice(0, index));
    if (tail === null || head === null) continue;
    found = [head, ...tail];
    break;
  }
  seen.set(sentence, found);
  return found;
}

/** The text with what stands in quotes blanked out, of the same length. */
function maskQuoted(text: string): string {
  return text.replace(/"[^"]*"|“[^”]*”|`[^`]*`/g, (quoted) => "_".repeat(quoted.length));
}

const languages = new Map([
  ["python", "python"],
  ["javascript", "javascript"],
  ["js", "javascript"],
  ["typescript", "typescript"],
  ["ts", "typescript"],
]);
const language = String.raw`(?<language>python|javascript|js|typescript|ts)`;
const codeHead = new RegExp(
  String.raw`^(?:please )?(?:(?:run|execute|evaluate)(?: this| the following| some)? ${language}(?: code| script| program)?\s*:?|${language.replace("language", "bare")}(?: code)?\s*:)\s+(?<code>\S[\s\S]*)$`,
  "i",
);
const codeTail = new RegExp(
  String.raw`^(?:please )?(?:run|execute|evaluate) (?<code>"[^"]+"|\x60[^\x60]+\x60) (?:in|with|using) ${language}[.]?`,
  "i",
);

/** Code runs to its closing fence, to its closing backtick, to a spoken "then", or to the end of the task. */
function takeCode(text: string): Head | null {
  const tail = codeTail.exec(text);
  if (tail !== null)
    return toCode(text, tail.groups?.["language"], unquote(tail.groups?.["code"] ?? ""), text.slice(tail[0].length));
  const head = codeHead.exec(text)?.groups;
  if (head === undefined) return null;
  const { code: found = "", language: named = head["bare"] } = head;
  const fenced =
    /^```\w*\n(?<code>[\s\S]*?)\n?```/.exec(found) ??
    /^`(?<code>[^`]+)`/.exec(found) ??
    /^"(?<code>[^"]+)"(?=\s*(?:$|[,;.]))/.exec(found);
  if (fenced !== null) return toCode(text, named, fenced.groups?.["code"] ?? "", found.slice(fenced[0].length));
  const end = /,\s+(?:and\s+)?then\s+/i.exec(
    maskQuoted(found).replace(/'[^'\n]*'/g, (quoted) => "_".repeat(quoted.length)),
  );
  return end === null
    ? toCode(text, named, found, "")
    : toCode(text, named, found.slice(0, end.index), found.slice(end.index));
}

function toCode(text: string, named = "", code = "", rest = ""): Head {
  const said = text.slice(0, text.length - rest.length).trim();
  const args = { language: languages.get(named.toLowerCase()) ?? named, code: code.trim() };
  return { step: { tool: "execute_code", args, said }, rest: withoutSeparator(rest) };
}

/** A tool by its own name, with its arguments as JSON: `todo_list {"status":"open"}`. */
function takeDirectCall(text: string): Head | null {
  const head = /^(?:call |use )?(?<tool>[A-Za-z0-9_-]{1,64})\s*(?=\{)/.exec(text);
  if (head === null) return null;
  const tool = head.groups?.["tool"] ?? "";
  const end = findClosing(text, head[0].length);
  const args = end === null ? null : parseObject(text.slice(head[0].length, end));
  if (end === null || args === null) return null;
  return { step: { tool, args, said: text.slice(0, end) }, rest: withoutSeparator(text.slice(end)) };
}

function withoutSeparator(rest: string): string {
  return rest.replace(/^[\s,;.]*(?:and\s+)?(?:then\s+)?/i, "");
}

/** The place behind the brace that closes the one at `start`; braces in strings don't count. */
function findClosing(text: string, start: number): number | null {
  let depth = 0;
  let inString = false;
  for (let place = start; place < text.length; place += 1) {
    const char = text[place];
    if (inString && char === "\\") place += 1;
    else if (char === '"') inString = !inString;
    else if (!inString && char === "{") depth += 1;
    else if (!inString && char === "}") {
      depth -= 1;
      if (depth === 0) return place + 1;
    }
  }
  return null;
}

function parseObject(text: string): JsonObject | null {
  try {
    const value: JsonObject = JSON.parse(text);
    return value;
  } catch {
    return null;
  }
}

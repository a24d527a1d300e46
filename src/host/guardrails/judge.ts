import type { AnswerPart, EventBody, Stop } from "../../core/event.ts";
import type { GuardrailRule, Guardrails } from "../../core/guardrails.ts";
import type { Json } from "../../core/json.ts";
import { parseJson } from "../../core/json.ts";
import type { Run } from "../../core/run.ts";
import { checkAnswer, readAnswer } from "../answer-schema.ts";
import type { Screened } from "./rules.ts";
import { isListed, screen } from "./rules.ts";

export type Hit = EventBody & { readonly type: "guardrail.hit" };

/** An answer as the log keeps it and a person may see it, and the events that follow it: what its rules found. */
export interface Judged {
  readonly parts: readonly AnswerPart[];
  readonly stop: Stop;
  readonly hits: readonly Hit[];
}

/** The rule that the schema of an answer is, by its name in events. */
const schemaRule = "answer_schema";
const sizeRule = "answer_size";
const defaultTries = 2;
/** Stands for the name of a tool that held what must not be on record. Every model's API takes it, and no tool has it. */
export const takenName = "redacted";

/** Whether an answer may be shown only once it is judged. */
export function isJudgedWhole({ guardrails, answerSchema }: Pick<Run, "guardrails" | "answerSchema">): boolean {
  if (answerSchema !== undefined || guardrails?.maxAnswerChars !== undefined) return true;
  return guardrails?.rules?.some(({ on }) => on.includes("output")) === true;
}

/**
 * Holds an answer, whose calls have their ids of the run by now, against the rules of its run and the schema of its answers. An answer
 * that is held back loses its words, its thoughts and its calls. Its parts are the same object when no rule changed them.
 */
export function judgeAnswer({ parts, stop }: Pick<Judged, "parts" | "stop">, run: Run): Judged {
  const { guardrails, answerSchema } = run;
  const screened = guardrails === undefined ? { parts, found: [] } : screenParts(parts, run, guardrails);
  const held = [
    ...screened.found.filter(({ holds }) => holds).map((found) => toHeld(found, run)),
    ...toTooLong(parts, run),
  ];
  if (held.length > 0) {
    const text = `[held back by ${held.map(({ rule }) => rule).join(", ")}]`;
    const wentOn = stop === "tool" || stop === "paused";
    return { parts: [{ type: "text", text }], stop: wentOn ? "end" : stop, hits: held };
  }
  const hits = [...screened.found.map(toRedacted), ...unlistedCalls(parts, run)];
  const unfit = answerSchema === undefined ? [] : misfit(screened.parts, stop, run, answerSchema);
  return { parts: screened.parts, stop, hits: [...hits, ...unfit] };
}

/** What was taken out of an answer because it looked like a secret, whatever the rules of the run are. */
export function toSecretHits(said: readonly AnswerPart[], left: readonly AnswerPart[]): readonly Hit[] {
  const places = ["output", "tool"] as const;
  return places
    .filter((place) => said.some((part, at) => placeOf(part) === place && isChanged(part, left[at] ?? part)))
    .map((place) => toSecretHit(place));
}

/** That something was taken out of what the model said, or out of a call or its result. */
export function toSecretHit(place: "output" | "tool", callId?: string): Hit {
  const from = callId === undefined ? "what the model said" : "the result of a call";
  const message = `What looked like a key or a token was taken out of ${from}.`;
  const about = callId === undefined ? {} : { callId };
  return { type: "guardrail.hit", rule: "secrets", place, action: "redacted", message, ...about };
}

const placeOf = ({ type }: AnswerPart): Hit["place"] => (type === "tool_call" ? "tool" : "output");

const isChanged = (part: AnswerPart, left: AnswerPart): boolean =>
  textOf(part) !== textOf(left) || nameOf(part) !== nameOf(left);

const nameOf = (part: AnswerPart): string => (part.type === "tool_call" ? part.name : "");

function textOf(part: AnswerPart): string {
  if (part.type === "image") return "";
  return part.type === "tool_call" ? part.argumentsText : part.text;
}

/** A rule that was hit, where, and whether it holds the answer back. */
interface Found {
  readonly rule: GuardrailRule;
  readonly place: "output" | "tool";
  readonly holds: boolean;
}

function screenParts(
  parts: readonly AnswerPart[],
  { answerSchema, tools }: Pick<Run, "answerSchema" | "tools">,
  guardrails: Guardrails,
): { readonly parts: readonly AnswerPart[]; readonly found: readonly Found[] } {
  // Words are read as one text, whatever comes between them. What was only thought is never held against an answer.
  const words = screen(textsOf(parts, "text"), "output", guardrails);
  const said = answerSchema === undefined ? words : screenValue(words, guardrails);
  const thought = screen(textsOf(parts, "reasoning"), "output", guardrails);
  const calls = screenAll(textsOf(parts, "tool_call"), "arguments", guardrails);
  const names = screenNames(parts, tools, guardrails);
  const found = [
    ...said.hits.map((rule): Found => ({ rule, place: "output", holds: rule.action !== "redact" })),
    ...thought.hits
      .filter((rule) => !said.hits.includes(rule))
      .map((rule): Found => ({ rule, place: "output", holds: false })),
    ...[...new Set([...calls.hits, ...names.hits])].map((rule): Found => ({
      rule,
      place: "tool",
      holds: rule.action !== "redact",
    })),
  ];
  if (found.length === 0) return { parts, found };
  const left = { text: [...said.texts], reasoning: [...thought.texts], tool_call: [...calls.texts] };
  const clean = parts.map((part): AnswerPart => {
    if (part.type === "image") return part;
    const text = left[part.type].shift() ?? "";
    if (part.type !== "tool_call") return { ...part, text };
    return { ...part, name: names.taken.has(part.name) ? takenName : part.name, argumentsText: text };
  });
  return { parts: clean, found };
}

/**
 * What a model calls a tool by that it was not offered is its own words: rules for output and for arguments are for them too. The name of
 * one that it was offered says nothing.
 */
function screenNames(
  parts: readonly AnswerPart[],
  tools: Run["tools"],
  guardrails: Guardrails,
): { readonly taken: ReadonlySet<string>; readonly hits: readonly GuardrailRule[] } {
  const offered = new Set(tools.map(({ name }) => name));
  const hits = new Set<GuardrailRule>();
  const taken = new Set<string>();
  for (const name of new Set(parts.map(nameOf))) {
    if (name === "" || offered.has(name)) continue;
    // In a name, words stand with a line or a dot between them.
    const texts = [name, name.replaceAll(/[^\p{L}\p{N}]+/gu, " ")];
    const found = texts.flatMap((text) =>
      (["output", "arguments"] as const).flatMap((on) => screen([text], on, guardrails).hits),
    );
    for (const rule of found) hits.add(rule);
    if (found.length > 0) taken.add(name);
  }
  return { taken, hits: [...hits] };
}

function textsOf(parts: readonly AnswerPart[], type: "text" | "reasoning" | "tool_call"): readonly string[] {
  return parts.filter((part) => part.type === type).map(textOf);
}

/** Words that are read as JSON in the end, screened as they will be read too. */
function screenValue({ texts, hits }: Screened, guardrails: Guardrails): Screened {
  const read = readAnswer(texts.join(""));
  const values = "problem" in read ? [] : [JSON.stringify(read.value)];
  const screened = screenAll(values, "output", guardrails);
  if (screened.hits.length === 0) return { texts, hits };
  return {
    texts: texts.map((_, place) => screened.texts[place] ?? ""),
    hits: [...new Set([...hits, ...screened.hits])],
  };
}

/** Texts that are JSON are screened as they will be read, value by value, so that no escape hides a word; others as they stand. */
function screenAll(jsonTexts: readonly string[], on: GuardrailRule["on"][number], guardrails: Guardrails): Screened {
  const hits = new Set<GuardrailRule>();
  const clean = (text: string): string => {
    const screened = screen([text], on, guardrails);
    for (const rule of screened.hits) hits.add(rule);
    return screened.texts.join("");
  };
  const texts = jsonTexts.map((text) => {
    const value = parseJson(text);
    if (value === undefined) return clean(text);
    const cleaned = JSON.stringify(mapTexts(value, clean));
    return cleaned === JSON.stringify(value) ? text : cleaned;
  });
  return { texts, hits: [...hits] };
}

function mapTexts(value: Json, map: (text: string) => string): Json {
  if (typeof value === "string") return map(value);
  if (typeof value === "number") return map(String(value)) === String(value) ? value : map(String(value));
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item: Json) => mapTexts(item, map));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [map(key), mapTexts(item, map)]));
}

/** Asked again as often as the rules allow, then the end of the run. */
function toHeld({ rule, place }: Found, run: Run): Hit {
  const { tries = defaultTries } = run.guardrails ?? {};
  const what = place === "tool" ? "a tool call" : "the last answer";
  if (rule.action === "ask_again" && (run.askedAgain[rule.name] ?? 0) < tries) {
    const message = `The rule ${rule.name} holds back ${what}. Go on without what it forbids.`;
    return { type: "guardrail.hit", rule: rule.name, place, action: "asked_again", message };
  }
  const message = `The rule ${rule.name} of the run holds back ${what}.`;
  return { type: "guardrail.hit", rule: rule.name, place, action: "blocked", message, code: "guardrail.output" };
}

function toTooLong(parts: readonly AnswerPart[], { guardrails, askedAgain }: Run): readonly Hit[] {
  const { maxAnswerChars = Infinity, tries = defaultTries } = guardrails ?? {};
  const chars = textsOf(parts, "text").reduce((sum, text) => sum + text.length, 0);
  if (chars <= maxAnswerChars) return [];
  const about = { type: "guardrail.hit" as const, rule: sizeRule, place: "output" as const };
  const message = `The last answer has ${chars} characters, and ${maxAnswerChars} are the most.`;
  if ((askedAgain[sizeRule] ?? 0) >= tries) return [{ ...about, action: "blocked", message, code: "guardrail.output" }];
  return [{ ...about, action: "asked_again", message: `${message} Say it in fewer.` }];
}

/** That a rule took something out of what the model said. */
export function toRedacted({ rule: { name }, place }: Pick<Found, "rule" | "place">): Hit {
  const what = place === "tool" ? "the arguments of a tool call" : "what the model said";
  const message = `The rule ${name} took a part out of ${what}.`;
  return { type: "guardrail.hit", rule: name, place, action: "redacted", message };
}

/** Calls of tools that the rules leave out. The run's grant does not hold them, so the door refuses them. */
function unlistedCalls(parts: readonly AnswerPart[], { guardrails, tools: offered }: Run): readonly Hit[] {
  const { tools } = guardrails ?? {};
  if (tools === undefined) return [];
  return parts.flatMap((part): readonly Hit[] => {
    if (part.type !== "tool_call" || isListed(part.name, tools)) return [];
    if (offered.some(({ name }) => name === part.name)) return [];
    const message = "The model called a tool that the rules of the run leave out.";
    return [{ type: "guardrail.hit", rule: "tools", place: "tool", action: "blocked", message, callId: part.callId }];
  });
}

/** What the schema says of an answer that would be the last. One that ends otherwise, or that policy refused, needs no form. */
function misfit(
  parts: readonly AnswerPart[],
  stop: Stop,
  { refusal, askedAgain }: Run,
  { schema, tries }: NonNullable<Run["answerSchema"]>,
): readonly Hit[] {
  if (stop !== "end" || refusal !== null || parts.some(({ type }) => type === "tool_call")) return [];
  const checked = checkAnswer(textsOf(parts, "text").join(""), schema);
  if (!("problem" in checked)) return [];
  const message = `The answer can't be used: ${checked.problem}.`;
  const about = { type: "guardrail.hit" as const, rule: schemaRule, place: "output" as const };
  if ((askedAgain[schemaRule] ?? 0) >= tries) return [{ ...about, action: "blocked", message, code: "run.bad_answer" }];
  return [{ ...about, action: "asked_again", message: `${message} Answer again with nothing but JSON that fits.` }];
}

import { CapstanError, toCapstanError } from "../core/error.ts";
import type { Json, JsonObject, JsonSchema } from "../core/json.ts";
import { parseJson } from "../core/json.ts";
import type { Run, RunEnd } from "../core/run.ts";
import { toCheck } from "../tools/json-schema.ts";

/** The form that a run's answer must have, as `run.created` keeps it. */
interface AnswerSchema {
  readonly schema: JsonObject;
  /** How often the model is asked again. */
  readonly tries: number;
}

const defaultTries = 2;
const maxTries = 20;
/** The longest answer that is looked at, in UTF-16 units. */
const maxAnswerChars = 1024 * 1024;
/** How many problems of one answer the model is told. */
const maxProblems = 8;

/** A schema for answers, looked at before anything is spent. Throws `usage.bad_option` for one that is no JSON Schema, or too many tries. */
export function toAnswerSchema(schema: JsonObject, tries: number = defaultTries): AnswerSchema {
  if (!Number.isInteger(tries) || tries < 0 || tries > maxTries) {
    const text = `The model can be asked again for an answer that fits 0 to ${maxTries} times, not ${tries}.`;
    throw new CapstanError("usage.bad_option", text);
  }
  checkOf(schema);
  return { schema, tries };
}

/** What stands in the system prompt of a run whose answer must fit: not every endpoint enforces it. */
export function schemaInWords(schema: JsonSchema): string {
  const text = JSON.stringify(schema);
  return `Your last answer, after all tool calls, must be one JSON value and nothing else. It must fit this JSON Schema: ${text}`;
}

/** The value of an answer that fits, or what is wrong with it in a sentence that the model reads. */
type CheckedAnswer = { readonly value: Json } | { readonly problem: string };

/** Reads an answer strictly: it is JSON as a whole, or the one fenced block in it is. */
export function checkAnswer(text: string, schema: JsonSchema): CheckedAnswer {
  const parsed = readAnswer(text);
  if ("problem" in parsed) return parsed;
  let problems: readonly string[];
  try {
    problems = checkOf(schema)(parsed.value);
  } catch (thrown) {
    if (toCapstanError(thrown).code !== "tool.bad_definition") throw thrown;
    return { problem: "it takes too long to check. Answer with less" };
  }
  if (problems.length === 0) return parsed;
  const more = problems.length > maxProblems ? `; and ${problems.length - maxProblems} more` : "";
  return { problem: `it does not fit the schema: ${problems.slice(0, maxProblems).join("; ")}${more}` };
}

/** The answer of a run as JSON, where it had a schema for it and is done. */
export function toValue({ answerSchema }: Run, { status, answer }: RunEnd): { readonly value?: Json } {
  if (answerSchema === undefined || status !== "done") return {};
  const parsed = readAnswer(answer);
  return "problem" in parsed ? {} : parsed;
}

/** The JSON that an answer is, whether it fits or not. */
export function readAnswer(text: string): CheckedAnswer {
  if (text.length > maxAnswerChars) return { problem: `it is longer than ${maxAnswerChars} characters` };
  const whole = parseJson(text);
  const blocks = whole === undefined ? toFencedBlocks(text) : [];
  if (blocks.length > 1) return { problem: `it holds ${blocks.length} fenced blocks, and one is expected` };
  const value = whole === undefined ? parseJson(blocks[0] ?? "") : whole;
  return value === undefined ? { problem: "it is no JSON, or nested too deep" } : { value };
}

/** What stands in fenced blocks of Markdown, each closed. */
function toFencedBlocks(text: string): readonly string[] {
  const blocks: string[] = [];
  let open: string[] | undefined;
  for (const line of text.split(/\r?\n/)) {
    const isFence = /^\s{0,3}```/.test(line);
    if (open === undefined) open = isFence ? [] : undefined;
    else if (!isFence) open.push(line);
    else {
      blocks.push(open.join("\n"));
      open = undefined;
    }
  }
  return blocks;
}

/** A schema is compiled once for as long as its run is held. */
const checks = new WeakMap<JsonSchema, ReturnType<typeof toCheck>>();

function checkOf(schema: JsonSchema): ReturnType<typeof toCheck> {
  const known = checks.get(schema);
  if (known !== undefined) return known;
  try {
    const check = toCheck(schema);
    // What leads back to itself without end does so on any value.
    check(null);
    checks.set(schema, check);
    return check;
  } catch (cause) {
    if (toCapstanError(cause).code !== "tool.bad_definition") throw cause;
    const text =
      "The schema for the answer can't be used: it is no JSON Schema (2020-12 or draft-07) that needs nothing beside itself, or it leads back to itself without end. Correct it.";
    throw new CapstanError("usage.bad_option", text, { cause });
  }
}

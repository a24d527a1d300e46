import { z } from "zod";
import { counted } from "./counted.ts";
import { isJsonObject } from "./json.ts";
import { nearest } from "./nearest.ts";
import { valueInWords } from "./value-in-words.ts";

/** How many forms, keys or values one sentence names. */
const maxNamed = 12;

/** What is wrong with one part of a value. */
interface Problem {
  /** Where, and what was expected and came, without a full stop: `timeoutMs: expected a whole number from 1, got "soon"`. */
  readonly text: string;
  /** Whether it is a key that the schema does not know. */
  readonly isUnknownKey: boolean;
}

/**
 * A value that fits its schema, or its problems in our words, of which at least one, each told once. `root` names the whole value; of
 * a value that does not fit, at most 80 characters are shown.
 */
export function fit<T>(
  schema: z.ZodType<T>,
  value: unknown,
  root: string,
): { readonly data: T } | { readonly problems: readonly [Problem, ...Problem[]] } {
  const parsed = schema.safeParse(value, { error: toSentence });
  if (parsed.success) return { data: parsed.data };
  const problems = new Map<string, Problem>();
  for (const issue of parsed.error.issues) {
    const text = toText(issue, root);
    problems.set(text, { text, isUnknownKey: issue.code === "unrecognized_keys" });
  }
  const [first = { text: `${root}: it does not fit`, isUnknownKey: false }, ...more] = problems.values();
  return { problems: [first, ...more] };
}

function toText({ path, message }: z.core.$ZodIssue, root: string): string {
  const where = path.map((key) => (/^[\w-]{1,80}$/.test(String(key)) ? String(key) : valueInWords(key))).join(".");
  return [where === "" ? root : where, message].filter((part) => part !== "").join(": ");
}

/** What a schema says itself comes before this, and undefined leaves an issue to zod's own words. */
function toSentence(issue: z.core.$ZodRawIssue): string | undefined {
  const { input, inst } = issue;
  switch (issue.code) {
    case "invalid_type":
      return expected(typeInWords(issue.expected, inst), input);
    case "too_small":
    case "too_big":
      return sizeInWords(issue);
    case "invalid_value":
      return expected(oneOf(issue.values), input);
    case "invalid_format":
      return expected(formatInWords(issue), input);
    case "unrecognized_keys":
      return listed(issue.keys.map((key) => unknownKey(key, inst)));
    case "invalid_key":
      return listed(issue.issues.map(({ message }) => message));
    case "invalid_union":
      return unionInWords(issue);
    default:
      return undefined;
  }
}

function expected(what: string, input: unknown): string {
  return `expected ${what}, ${input === undefined ? "and it is missing" : `got ${valueInWords(input)}`}`;
}

function typeInWords(type: string, schema: unknown): string {
  switch (type) {
    case "string":
      return "a string";
    case "int":
    case "number":
      return schema instanceof z.ZodNumber ? numberInWords(schema) : "a number";
    case "boolean":
      return "true or false";
    case "array":
      return "a list";
    case "object":
    case "record":
      return "an object";
    default:
      return type;
  }
}

/** The bounds that were set; those of every whole number in JavaScript tell nobody anything. */
function numberInWords({ format, minValue, maxValue }: z.ZodNumber): string {
  const isSet = (bound: number | null): bound is number => bound !== null && Math.abs(bound) < Number.MAX_SAFE_INTEGER;
  const kind = format === "safeint" ? "a whole number" : "a number";
  return `${kind}${isSet(minValue) ? ` from ${minValue}` : ""}${isSet(maxValue) ? ` to ${maxValue}` : ""}`;
}

function sizeInWords(
  issue: z.core.$ZodRawIssue<z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig>,
): string | undefined {
  const { input, schema, inclusive, exact } = issue;
  if (inclusive === false) return undefined;
  if (schema instanceof z.ZodNumber) return expected(numberInWords(schema), input);
  const isSmall = issue.code === "too_small";
  const bound = exact === true ? "exactly" : isSmall ? "at least" : "at most";
  const size = Number(isSmall ? issue.minimum : issue.maximum);
  if (typeof input === "string") return `expected ${bound} ${counted(size, "character")}, got ${input.length}`;
  return Array.isArray(input) ? `expected ${bound} ${counted(size, "item")}, got ${input.length}` : undefined;
}

function formatInWords({
  format,
  pattern,
}: {
  readonly format: string;
  readonly pattern?: string | undefined;
}): string {
  return format === "regex" && pattern !== undefined ? `text that matches ${pattern}` : `text of the form ${format}`;
}

function unknownKey(key: string, schema: unknown): string {
  const known = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const meant = nearest(key, known);
  const hint = meant === undefined ? `known here: ${listed(known) || "none"}` : `did you mean "${meant}"?`;
  return `${valueInWords(key)} is no key here (${hint})`;
}

/**
 * Only the forms of the value's own type tell what to mend, and of those the ones that know all of its keys, where there are such; where
 * it is of no form's type, the types are what was expected.
 */
function unionInWords(issue: z.core.$ZodRawIssue<z.core.$ZodIssueInvalidUnion>): string | undefined {
  if (issue.inclusive === false) return undefined;
  const { errors, input, discriminator = "", options } = issue;
  if (options !== undefined) return expected(oneOf(options), isJsonObject(input) ? input[discriminator] : undefined);
  const types = errors.map(([first]) =>
    first?.code === "invalid_type" && first.path.length === 0 ? first : undefined,
  );
  if (types.every((type) => type !== undefined)) {
    return expected(
      listed(
        types.map((type) => typeInWords(type.expected, undefined)),
        " or ",
      ),
      input,
    );
  }
  const forms = errors.filter((_, index) => types[index] === undefined);
  const meant = forms.filter((form) => form.every(({ code }) => code !== "unrecognized_keys"));
  return listed(
    (meant.length > 0 ? meant : forms).map((form) => form.map((problem) => toText(problem, "")).join(" and ")),
    "; or ",
  );
}

function oneOf(values: readonly z.core.util.Primitive[]): string {
  return `${values.length > 1 ? "one of " : ""}${listed(values.map(valueInWords))}`;
}

function listed(texts: readonly string[], separator = ", "): string {
  const shown = [...new Set(texts)];
  const more = shown.length - maxNamed;
  return `${shown.slice(0, maxNamed).join(separator)}${more > 0 ? ` and ${more} more` : ""}`;
}

import { CapstanError } from "../../core/error.ts";
import type { GuardrailRule } from "../../core/guardrails.ts";
import { Guardrails } from "../../core/guardrails.ts";
import { fit } from "../../core/issue.ts";
import { canonicalJson } from "../../core/json.ts";
import { compilePattern } from "./pattern.ts";
import type { Finder, Span } from "./span.ts";
import { mergeSpans, takeOut } from "./span.ts";
import { compileWords } from "./words.ts";

/** The part `guardrails` of the config and of an agent: `Guardrails` whose patterns compile. */
export const GuardrailsConfig = Guardrails.superRefine((guardrails, context) => {
  try {
    compile(guardrails);
  } catch (thrown) {
    if (!(thrown instanceof CapstanError)) throw thrown;
    context.addIssue({ code: "custom", message: thrown.message, input: guardrails });
  }
});

/** Whether a name of a tool is on an allow-list. */
export function isListed(name: string, list: readonly string[]): boolean {
  return list.some((listed) => (listed.endsWith("*") ? name.startsWith(listed.slice(0, -1)) : name === listed));
}

/** A rule, and what of a text it is about. */
interface Compiled {
  readonly rule: GuardrailRule;
  readonly finders: readonly Finder[];
}

/** The rules of a run are one object for as long as it is held. */
const compiled = new WeakMap<Guardrails, readonly Compiled[]>();

function compile(guardrails: Guardrails): readonly Compiled[] {
  const known = compiled.get(guardrails);
  if (known !== undefined) return known;
  const made = (guardrails.rules ?? []).map((rule) => {
    const { words = [], patterns = [] } = rule;
    return { rule, finders: [...(words.length > 0 ? [compileWords(words)] : []), ...patterns.map(compilePattern)] };
  });
  compiled.set(guardrails, made);
  return made;
}

/** What rules say of some texts. */
export interface Screened {
  /** Each text without what was hit. */
  readonly texts: readonly string[];
  /** The rules that were hit, in their order. */
  readonly hits: readonly GuardrailRule[];
}

/** Holds texts that are read as one against the rules for their place. What takes too many steps to search counts as hit as a whole. */
export function screen(texts: readonly string[], on: GuardrailRule["on"][number], guardrails: Guardrails): Screened {
  const text = texts.join("");
  const all: (readonly Span[])[] = [];
  const hits: GuardrailRule[] = [];
  for (const { rule, finders } of compile(guardrails)) {
    if (!rule.on.includes(on)) continue;
    const spans = finders.flatMap((find) => find(text) ?? [{ start: 0, end: text.length }]);
    if (spans.length === 0) continue;
    hits.push(rule);
    all.push(spans);
  }
  return hits.length === 0 ? { texts, hits } : { texts: takeOut(texts, mergeSpans(all.flat())), hits };
}

/**
 * The rules of all of these together: every rule of each, the lowest of each limit, and of `tools` those that each list leaves. Undefined
 * where there are none.
 */
export function combineGuardrails(parts: readonly Guardrails[], tools: readonly string[]): Guardrails | undefined {
  const lists = parts.flatMap((part) => (part.tools === undefined ? [] : [part.tools]));
  const rules = new Map(parts.flatMap((part) => part.rules ?? []).map((rule) => [canonicalJson(rule), rule]));
  const maxAnswerChars = Math.min(...parts.map((part) => part.maxAnswerChars ?? Infinity));
  const tries = Math.min(...parts.map((part) => part.tries ?? Infinity));
  const all = {
    ...(lists.length === 0 ? {} : { tools: tools.filter((name) => lists.every((list) => isListed(name, list))) }),
    ...(rules.size === 0 ? {} : { rules: [...rules.values()] }),
    ...(maxAnswerChars === Infinity ? {} : { maxAnswerChars }),
    ...(tries === Infinity ? {} : { tries }),
  };
  if (Object.keys(all).length === 0) return undefined;
  const fitted = fit(GuardrailsConfig, all, "guardrails");
  if ("data" in fitted) return fitted.data;
  const problems = fitted.problems.map(({ text }) => text).join("; ");
  throw new CapstanError("usage.bad_option", `The guardrails of the run can't be used: ${problems}.`);
}

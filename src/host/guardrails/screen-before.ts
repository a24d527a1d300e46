import type { Event } from "../../core/event.ts";
import type { GuardrailRule, Guardrails } from "../../core/guardrails.ts";
import { canonicalJson } from "../../core/json.ts";
import type { Hit } from "./judge.ts";
import { screen } from "./rules.ts";

/** What is said of events that a new run goes on from, given one after another. */
interface ScreenBefore {
  readonly see: (event: Event) => void;
  readonly hits: () => readonly Hit[];
}

/**
 * Holds what came in before a new run against those of its rules for input that it was not held against when it came. A log is not changed
 * afterwards, so whatever such a rule does, the new run ends before a model is asked.
 */
export function openScreenBefore({ rules = [] }: Guardrails = {}): ScreenBefore {
  const forInput = rules.filter(({ on }) => on.includes("input")).map((rule) => ({ rule, alone: { rules: [rule] } }));
  const found = new Map<string, Hit>();
  let missed: typeof forInput = [];
  return {
    see(event) {
      if (event.type === "run.created") missed = forInput.filter(({ rule }) => !hadRule(event, rule));
      const texts = missed.length === 0 ? [] : textsOf(event);
      for (const { rule, alone } of texts.length === 0 ? [] : missed) {
        const isHit = !found.has(rule.name) && texts.some((text) => screen([text], "input", alone).hits.length > 0);
        if (isHit) found.set(rule.name, toHit(rule, event));
      }
    },
    hits: () => [...found.values()],
  };
}

/** What a file says of the rules that its runs had proves nothing. */
function hadRule({ guardrails, imported }: Event & { readonly type: "run.created" }, rule: GuardrailRule): boolean {
  if (imported !== undefined) return false;
  const asked = canonicalJson(rule);
  return guardrails?.rules?.some((had) => canonicalJson(had) === asked) === true;
}

/** What people said in an event, and what came with their words. */
function textsOf(event: Event): readonly string[] {
  if (event.type === "run.created") return [event.task];
  if (event.type !== "input.received") return [];
  const { input } = event;
  if (input.type === "approval") return input.reason === undefined ? [] : [input.reason];
  if (input.type !== "message") return [];
  return [input.text, ...(input.content ?? []).flatMap((block) => ("text" in block ? (block.text ?? []) : []))];
}

function toHit({ name: rule }: GuardrailRule, { runId, seq }: Event): Hit {
  const message = `The rule ${rule} of the run holds back what came in before it, with event ${seq} of ${runId}. Go on from before that, or begin anew.`;
  return { type: "guardrail.hit", rule, place: "input", action: "blocked", message, code: "guardrail.input" };
}

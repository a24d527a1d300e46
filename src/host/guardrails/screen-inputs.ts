import type { Block, EventBody } from "../../core/event.ts";
import type { GuardrailRule, Guardrails } from "../../core/guardrails.ts";
import type { Hit } from "./judge.ts";
import { screen } from "./rules.ts";

type Created = EventBody & { readonly type: "run.created" };

/**
 * The first events of a run without what its rules for input take out, and behind them the events of what they found. A rule that blocks
 * ends the run before a model is asked. `toSystem`: makes its system prompt, where that holds anything of what came from outside.
 */
export async function screenBeginning(
  [created, ...received]: readonly [Created, ...EventBody[]],
  guardrails: Guardrails | undefined,
  toSystem?: (clean: (text: string) => string) => Promise<string>,
): Promise<readonly [Created, ...EventBody[]]> {
  const { clean, hits } = openScreen(guardrails);
  const system = toSystem === undefined ? {} : { system: await toSystem(clean) };
  const first = { ...created, ...system, task: clean(created.task) };
  const rest = received.map((body) => cleanInput(body, clean));
  return [first, ...rest, ...hits()];
}

/** `screenBeginning` for what comes to a run later. */
export function screenInputs(received: readonly EventBody[], guardrails: Guardrails | undefined): readonly EventBody[] {
  const { clean, hits } = openScreen(guardrails);
  const cleaned = received.map((body) => cleanInput(body, clean));
  return [...cleaned, ...hits()];
}

function openScreen(guardrails: Guardrails = {}) {
  const found = new Set<GuardrailRule>();
  const clean = (text: string): string => {
    const screened = screen([text], "input", guardrails);
    for (const rule of screened.hits) found.add(rule);
    return screened.texts.join("");
  };
  return { clean, hits: () => [...found].map(toHit) };
}

function cleanInput(body: EventBody, clean: (text: string) => string): EventBody {
  if (body.type !== "input.received" || body.input.type === "cancel") return body;
  if (body.input.type === "approval") {
    const { reason } = body.input;
    return reason === undefined ? body : { ...body, input: { ...body.input, reason: clean(reason) } };
  }
  const { content, text } = body.input;
  const blocks = content === undefined ? {} : { content: content.map((block) => cleanBlock(block, clean)) };
  return { ...body, input: { ...body.input, text: clean(text), ...blocks } };
}

function cleanBlock(block: Block, clean: (text: string) => string): Block {
  if (block.type === "text") return { ...block, text: clean(block.text) };
  return block.type === "resource" && block.text !== undefined ? { ...block, text: clean(block.text) } : block;
}

function toHit({ name: rule, action }: GuardrailRule): Hit {
  const about = { type: "guardrail.hit" as const, rule, place: "input" as const };
  if (action === "redact") {
    return { ...about, action: "redacted", message: `The rule ${rule} took a part out of what the run was given.` };
  }
  const message = `The rule ${rule} of the run holds back what it was given.`;
  return { ...about, action: "blocked", message, code: "guardrail.input" };
}

import { z } from "zod";

/** A rule over text. What it is about says `on`; it is hit by any of its words and patterns. */
const GuardrailRule = z
  .strictObject({
    /** How events and messages call it. */
    name: z.string().regex(/^[a-z][a-z0-9_-]{0,39}$/, "a name is small letters, digits, hyphens and underscores"),
    /** `input`: the task, and all messages that come from outside. `output`: what the model says. `arguments`: of its tool calls. */
    on: z.array(z.enum(["input", "output", "arguments"])).min(1),
    /** Whole words or phrases, in whatever case, width and spacing they stand. */
    words: z.array(z.string().min(1).max(200)).max(1_000).exactOptional(),
    /** Regular expressions that need no backtracking (host/guardrails/pattern.ts). They see the text as it stands. */
    patterns: z.array(z.string().min(1).max(500)).max(100).exactOptional(),
    /** `block` ends the run, `redact` replaces what was hit, `ask_again` has the model say something else, `tries` times at most. */
    action: z.enum(["block", "redact", "ask_again"]),
  })
  .refine(({ action, on }) => action !== "ask_again" || !on.includes("input"), {
    error: "what comes from outside can't be asked for again: take block or redact",
  });
export type GuardrailRule = Readonly<z.infer<typeof GuardrailRule>>;

/** The rules of a run. What is missing rules nothing. */
export const Guardrails = z.strictObject({
  /** Names of tools, or `prefix*`: of the tools of its grant the run gets these alone. `[]`: none. */
  tools: z.array(z.string().min(1).max(200)).max(1_000).exactOptional(),
  rules: z.array(GuardrailRule).max(100).exactOptional(),
  /** The longest text of one answer, in UTF-16 units. A longer one is asked for again, and then ends the run. */
  maxAnswerChars: z.int().min(1).exactOptional(),
  /** How often one rule has the model asked again in a run, before it ends the run; missing: 2. */
  tries: z.int().min(0).max(20).exactOptional(),
});
export type Guardrails = Readonly<z.infer<typeof Guardrails>>;

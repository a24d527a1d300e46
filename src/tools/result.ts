import type { CapstanError } from "../core/error.ts";
import { toText } from "../core/error.ts";
import type { Block } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import type { Taint } from "../core/taint.ts";
import type { InputRequest, Outcome } from "./tool.ts";

/** The shape in which a tool's end leaves the process: MCP's CallToolResult, without its `_meta`. */
export interface ToolResult {
  readonly content: readonly Block[];
  readonly structuredContent?: Json;
  readonly isError?: true;
}

/** A failure as the outcome that a model reads. `taint`: where what its sentence quotes came from; missing: from the caller itself. */
export function toFailure(failure: CapstanError, taint?: Taint): Outcome<never> {
  const content = [{ type: "text" as const, text: toText(failure) }];
  return { type: "done", isError: true, code: failure.code, content, ...(taint === undefined ? {} : { taint }) };
}

/**
 * An outcome as MCP's CallToolResult: a value is structured content, and stands as JSON in a text block too for clients that know only
 * text (2026-07-28, server/tools, Structured Content). A waiting outcome becomes an error that says what it waits for.
 */
export function toResult(outcome: Outcome): ToolResult {
  if (outcome.type === "waiting") {
    const text = `tool.input_needed: The call waits for an answer that can't be given here: ${questionsInWords(outcome.requests)}`;
    return { content: [{ type: "text", text }], isError: true };
  }
  const { value, content = [], isError } = outcome;
  return {
    content: value === undefined ? content : [{ type: "text", text: JSON.stringify(value) }, ...content],
    ...(value === undefined ? {} : { structuredContent: value }),
    ...(isError === true ? { isError } : {}),
  };
}

/** The most that is told of questions which nobody is asked: they may be a server's words. */
const maxQuestionChars = 1_000;

/** What a waiting call asks, as one text. */
export function questionsInWords(requests: readonly InputRequest[]): string {
  const words = requests.map((request) => ("message" in request ? request.message : `(${request.type})`)).join(" ");
  return words.length <= maxQuestionChars ? words : `${words.slice(0, maxQuestionChars)}…`;
}

import type { ContextMessage, Run } from "../../core/run.ts";
import { toArray } from "../../core/sequence.ts";
import type { Tokenizer } from "./count.ts";
import { countHead, countMessage } from "./count.ts";
import { toRoom } from "./plan.ts";

/** One part of what a model is told. */
export interface ContextPart {
  readonly kind: "instructions" | "tools" | "task" | "user" | "summary" | "answer" | "result";
  /** By the tokenizer: near enough, and not what its provider bills. */
  readonly tokens: number;
  /** Of a result: whose it is. */
  readonly name?: string;
  readonly callId?: string;
  /** Of a result: its beginning and its end alone are told. */
  readonly isCut?: true;
}

/** What the context of one model call is made of. */
interface ContextExplanation {
  /** In the order in which they are told. */
  readonly parts: readonly ContextPart[];
  /** The tools that are offered, in their order. */
  readonly tools: readonly string[];
  /** Of all parts. */
  readonly tokens: number;
  /** What a request may take in beside the room of its answer; missing: nobody knows. */
  readonly budgetTokens?: number;
}

/** What a model is told that is asked in this state of a run: the fold up to and with `model.requested`. */
export function explainContext(run: Run, count: Tokenizer): ContextExplanation {
  const { system = "", tools, messages, context } = run;
  const ofSystem = countHead(system, [], count);
  const parts: readonly ContextPart[] = [
    { kind: "instructions", tokens: ofSystem },
    { kind: "tools", tokens: countHead(system, tools, count) - ofSystem },
    ...toArray(messages).map((message, place) =>
      toPart(message, place === context.taskAt, countMessage(message, count)),
    ),
  ];
  const room = run.windowTokens === undefined ? null : toRoom(run);
  return {
    parts,
    tools: tools.map(({ name }) => name),
    tokens: parts.reduce((sum, { tokens }) => sum + tokens, 0),
    ...(room === null ? {} : { budgetTokens: room.budget }),
  };
}

function toPart(message: ContextMessage, isTask: boolean, tokens: number): ContextPart {
  switch (message.role) {
    case "assistant":
      return { kind: "answer", tokens };
    case "tool": {
      const { callId, name, isCut } = message;
      return { kind: "result", tokens, name, callId, ...(isCut === undefined ? {} : { isCut }) };
    }
    default: {
      const { summary } = message;
      return { kind: isTask ? "task" : summary === true ? "summary" : "user", tokens };
    }
  }
}

import type { AnswerPart, Stop } from "../../core/event.ts";
import type { ContextMessage } from "../../core/run.ts";
import { noUsage } from "../../core/usage.ts";
import type { ModelEvent, ModelRequest, Provider } from "../provider.ts";
import { toPlan } from "./planner/plan.ts";
import { showOutcome } from "./planner/show.ts";
import type { Step } from "./planner/steps.ts";
import { examplesFor } from "./planner/steps.ts";

/**
 * A source of turns without a model: patterns split the task into steps over the tools it is offered, one call a turn, in order. It
 * plans from the task alone; stdin and results are never read to decide what is done, only shown. It does all of a task or, where it
 * does not understand a part, nothing; a step that fails ends the plan.
 */
export function openPlanner(): Provider {
  return {
    name: "planner",
    metered: false,
    identity: "planner",
    async *stream(request, signal) {
      signal.throwIfAborted();
      yield* nextTurn(request);
    },
  };
}

function nextTurn({ messages: all, taskAt, tools }: ModelRequest): readonly ModelEvent[] {
  const messages = all.slice(taskAt);
  const plan = toPlan(taskOf(messages));
  const offered = new Set(tools.map(({ name }) => name));
  if ("unclear" in plan) return say(introduce(plan.unclear, offered), "failed");
  const missing = plan.steps.find(({ tool }) => !offered.has(tool));
  if (missing !== undefined) return say(withoutTool(missing), "failed");

  const results = messages.filter((message) => message.role === "tool");
  const failed = results.at(-1)?.outcome.isError === true;
  const next = plan.steps[results.length];
  if (next !== undefined && !failed) return call(next, results.length);
  return say(report(plan.steps, results), failed ? "failed" : "end");
}

type Result = ContextMessage & { readonly role: "tool" };

/** The user's own words: the first message, and of it the first text. */
function taskOf([first]: readonly ContextMessage[]): string {
  const block = first?.role === "user" ? first.content[0] : undefined;
  return block?.type === "text" ? block.text : "";
}

function call({ tool: name, args }: Step, place: number): readonly ModelEvent[] {
  const part: AnswerPart = { type: "tool_call", callId: `step_${place}`, name, argumentsText: JSON.stringify(args) };
  return [
    { ...part, type: "tool.ready" },
    { type: "message.ended", parts: [part], stop: "tool", usage: noUsage },
  ];
}

function say(text: string, stop: Stop): readonly ModelEvent[] {
  return [
    { type: "text.delta", text },
    { type: "message.ended", parts: [{ type: "text", text }], stop, usage: noUsage },
  ];
}

function report(steps: readonly Step[], results: readonly Result[]): string {
  const told = steps.map((step, place) => {
    const outcome = results[place]?.outcome;
    if (outcome === undefined) return `Not tried: ${step.said}`;
    return outcome.isError ? `Failed: ${step.said}\n${showOutcome(step, outcome)}` : showOutcome(step, outcome);
  });
  return told.join("\n\n");
}

function introduce(unclear: string, offered: ReadonlySet<string>): string {
  const code = offered.has("execute_code") ? ["run python: print(6 * 7)"] : [];
  return [
    `I did not understand ${JSON.stringify(unclear.slice(0, 200))}, so I did nothing. I am Capstan's planner: I follow patterns and have no model behind me.`,
    'What I can do, one after another with "then" between:',
    ...[...examplesFor(offered), ...code].map((example) => `  ${example}`),
    '  NAME {"argument": "value"} for any tool by its name',
    "For other tasks, name a model: --model openai-compatible:NAME --base-url URL.",
  ].join("\n");
}

function withoutTool({ tool, said }: Step): string {
  return `For ${JSON.stringify(said)} I would call ${tool}, which this run is not offered, so I did nothing. If there is such a tool, --allow ${tool} offers it.`;
}
